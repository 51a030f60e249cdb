//! Features of lines in each language: the table behind [`infer`](super::infer()).

/// A sign of a language in one line.
pub struct Feature {
    /// The language that it indicates.
    pub language: &'static str,
    /// Its weight: 1 is a hint, 2 is enough if nothing contradicts it, 3 and 4 outweigh hints.
    pub points: u32,
    /// A pattern on the trimmed line.
    pub pattern: &'static str,
}

/// Languages that are not inferred. Their features keep code in them from being taken for another
/// language.
pub const OTHER: &str = "other";

/// The name under which features of all Bourne shells count.
pub const SHELL: &str = "sh";

/// Features of TypeScript count for JavaScript; one of them makes it TypeScript.
pub const TYPESCRIPT: &str = "typescript";

const PYTHON: &str = "python";
const JAVASCRIPT: &str = "javascript";
const SQL: &str = "sql";
const CSS: &str = "css";

const fn sign(language: &'static str, points: u32, pattern: &'static str) -> Feature {
    Feature { language, points, pattern }
}

/// Prose such as "for each file:" must not match a feature of 2 points or more, unless the test for
/// sentences catches it.
pub const FEATURES: &[Feature] = &[
    sign(
        PYTHON,
        3,
        r"^import [A-Za-z_][\w.]*( as \w+)?(\s*,\s*[A-Za-z_][\w.]*( as \w+)?)*\s*(#.*)?$",
    ),
    sign(PYTHON, 4, r"^from \.*[\w.]* ?import [\w(*]"),
    sign(PYTHON, 4, r"^(async )?def \w+\s*[(\[]"),
    sign(PYTHON, 4, r"^class \w+(\[.*\])?(\(.*\))?:"),
    sign(PYTHON, 3, r"^(async )?for [\w, ()*]+ in .+:\s*(#.*)?$"),
    sign(PYTHON, 3, r"^(async )?with .+ as [\w, ()]+:"),
    sign(PYTHON, 3, r"^(if|elif|while) .*([=<>(\[.\]]|\b(not|in|is|and|or|True)\b).*:\s*(#.*)?$"),
    sign(PYTHON, 2, r"^(if|elif|while|match|case) \S+:\s*(#.*)?$"),
    sign(PYTHON, 3, r"^except\b.*:"),
    sign(PYTHON, 2, r"^(try|else|finally):\s*(#.*)?$"),
    sign(PYTHON, 4, r#"^if __name__ == ['"]__main__['"]"#),
    sign(PYTHON, 3, r"^@[A-Za-z_][\w.]*(\(.*\))?$"),
    sign(PYTHON, 3, r"^print\s*\("),
    sign(PYTHON, 3, r#"\b[rbu]?f"[^"]*\{|\b[rbu]?f'[^']*\{"#),
    sign(PYTHON, 3, r#"^[rbf]?("""|''')"#),
    sign(PYTHON, 2, r"\b(None|True|False)\b.*[,)\]:]$"),
    sign(PYTHON, 3, r"\blambda\b[\w, *=]*:|\bself\.\w+"),
    sign(PYTHON, 2, r"^(return|yield|raise|assert|del|global|nonlocal) [^;]*[^;{,]$"),
    sign(
        PYTHON,
        2,
        concat!(
            r"^[\w.]+(\[[^\]]*\])*(\s*,\s*[\w.]+)*(: ?[\w\[\], |.]+)? ([-+*/%@&|^]|//|\*\*|>>",
            r"|<<)?= [^=;].*[^;{]$",
        ),
    ),
    sign(PYTHON, 2, r"^[\w.]+(\[[^\]]*\])*(\s*,\s*[\w.]+)* ([-+*/%@&|^]|//|\*\*|>>|<<)?= [^=;{]$"),
    sign(PYTHON, 2, r"^\w+ = [\[({]$"),
    sign(PYTHON, 2, r#"^\w+=([-\d.]+|\[.*\]|\{.*\}|[\w.]+\(.*\)|"[^"$]*"|'[^']*')$"#),
    sign(PYTHON, 1, r"^\w+=\S+$"),
    sign(PYTHON, 2, r"^[A-Za-z_][\w.]*\(.*\)\s*(#.*)?$"),
    sign(PYTHON, 1, r"^[A-Za-z_][\w.]*(\(.*\)|\[.*\])(\.\w+|\(.*\)|\[.*\])*$"),
    sign(PYTHON, 2, r"^await [\w.]+\([^;]*$"),
    sign(PYTHON, 3, r"= await [^;]*[^;]$|^await asyncio\."),
    sign(PYTHON, 3, r"^%(matplotlib|timeit|time|load_ext|autoreload|pip|conda)\b|^!\s*\w+ \w"),
    sign(
        JAVASCRIPT,
        4,
        r"^(export )?(const|let|var) [\w$]+\s*=|^(export )?(const|let|var) [{\[].*[}\]]\s*=",
    ),
    sign(JAVASCRIPT, 4, r"\bconsole\.(log|error|warn|info|table|dir)\("),
    sign(JAVASCRIPT, 4, r#"^import .*\bfrom ['"]|^import ['"]|^\} from ['"]"#),
    sign(JAVASCRIPT, 3, r"^export (default|const|function|class|async|\{)|\bmodule\.exports\b"),
    sign(JAVASCRIPT, 3, r#"\brequire\(['"]"#),
    sign(JAVASCRIPT, 3, r"^(async )?function\*? ?\w*\s*\([^)]+\)"),
    sign(JAVASCRIPT, 2, r"^(async )?function\*? ?\w*\s*\(\)"),
    sign(JAVASCRIPT, 3, r"\(?[\w, ]*\)? => ?[{(\w]"),
    sign(
        JAVASCRIPT,
        3,
        concat!(
            r"\b(document|window|process)\.(getElementById|querySelector|addEventListener|env",
            r"|argv|body|location)",
        ),
    ),
    sign(JAVASCRIPT, 4, r"^(alert|fetch|setTimeout|setInterval)\("),
    sign(JAVASCRIPT, 2, r"[^=!]==={1}[^=]|!=="),
    sign(JAVASCRIPT, 2, r"^await .*;$|^(return|throw new) .*;$|^for \((const|let|var) "),
    sign(
        JAVASCRIPT,
        1,
        r"^[A-Za-z_$][\w.$]*\(.*\);$|^\}\)?;$|^(if|while) \(.*\) ?\{$|^\} else|^//",
    ),
    sign(TYPESCRIPT, 4, r"^(export )?(interface \w+.*\{|type \w+(<.*>)? = )"),
    sign(TYPESCRIPT, 3, r"^(readonly )?\w+\??: (string|number|boolean|any|unknown)(\[\])?[;,]?$"),
    sign(
        TYPESCRIPT,
        4,
        concat!(
            r"^(const|let) \w+: \w+|^(export )?(async )?function \w+\(.*\w: (string|number",
            r"|boolean|any)\b",
        ),
    ),
    sign(
        SQL,
        4,
        r"^(SELECT\b.+\bFROM\b|INSERT INTO\b|UPDATE .+ SET\b|DELETE FROM\b|WITH \w+ AS ?\()",
    ),
    sign(
        SQL,
        4,
        concat!(
            r"(?i)^(create|drop|alter) (or replace )?(temp |temporary )?(table|view|index",
            r"|database|function|trigger)\b",
        ),
    ),
    sign(
        SQL,
        4,
        r"(?i)^(select\b.*;|insert into .*\b(values|select)\b|update .+ set .+;|delete from .*;)",
    ),
    sign(SQL, 3, r"(?i)^select [\w.*, ]+ from \w+( where .*)?$"),
    sign(
        SQL,
        2,
        concat!(
            r"^(SELECT|FROM|WHERE|GROUP BY|ORDER BY|(LEFT |RIGHT |INNER |OUTER |CROSS )?JOIN",
            r"|HAVING|LIMIT|VALUES|UNION)\b",
        ),
    ),
    sign(SQL, 3, r"^PRAGMA \w+"),
    sign(CSS, 3, r"^@(media|import|keyframes|font-face|charset)\b"),
    sign(CSS, 2, r"^[a-z][a-z-]*\s*:\s*[^;{}]+;$"),
    sign(CSS, 1, r"^[.#:*a-z][^;(){}=]*\{$"),
    sign(CSS, 3, r"^[.#:*a-z][^;(){}=]*\{\s*[a-z-]+\s*:[^{}]+;?\s*\}$"),
    sign(SHELL, 3, r"^(if|while|until|elif) (\[|test |! |command |grep )|; ?(then|do)$"),
    sign(SHELL, 3, r"^(fi|esac)\b|^case .+ in$|^done [|<>]"),
    sign(SHELL, 1, r"^(then|do|done)$"),
    sign(SHELL, 3, r"^for \w+ in [^:]*; ?do\b|^export [A-Z_a-z]\w*(=|$)|^alias \w+="),
    sign(SHELL, 3, r"^\w+ ?\(\) ?\{|^set -[a-z]|^set -o \w|^source \S+$|^\. \S*/\S+$"),
    sign(SHELL, 3, r"^(\./|~/|/(usr|bin|opt|tmp|home)/)[\w./-]+( |$)"),
    sign(
        SHELL,
        3,
        concat!(
            r"\|\s*(grep|head|tail|sort|uniq|wc|awk|sed|xargs|tee|cut|jq|less|tr|bash|sh)\b",
            r"|(>|2>&1|&>) ?/dev/null",
        ),
    ),
    sign(SHELL, 2, r#"^[A-Za-z_]\w*=("?\$[\w{(]|[a-zA-Z/~][\w/.~-]*$)"#),
    sign(SHELL, 1, r#"^[A-Za-z_]\w*=("[^"]*"|'[^']*'|[\w./-]+)$"#),
    sign(SHELL, 1, r#"["\s/]\$\{?\w+"#),
    sign(
        OTHER,
        4,
        r#"^#\s*include\s*[<"]|^using (namespace )?[\w.:]+;|^namespace [\w.]+|^package [\w.]+;?$"#,
    ),
    sign(OTHER, 4, r"^(public|private|protected|internal|static|abstract|final)\b.*[({;]$"),
    sign(
        OTHER,
        4,
        r"\b(int|void|auto|double) main\s*\(|^(pub )?(async )?fn \w+.*[({]|^func (\(.*\) )?\w+\(",
    ),
    sign(
        OTHER,
        4,
        concat!(
            r"\b(System\.out|Console\.(Write|Read)|std::|fmt\.Print|cout ?<<|cin ?>>)",
            r"|\b(println|print|vec|format)!\[",
        ),
    ),
    sign(
        OTHER,
        4,
        r"\b(e?println|e?print|panic|assert_eq)!\(|^let mut |^use [\w:]+(::\{.*\})?;$|^impl\b.*\{$",
    ),
    sign(
        OTHER,
        4,
        concat!(
            r"^import [\w.*]+;$|^import \(|^(struct|enum|trait) \w+.*\{$|^type \w+ (struct",
            r"|interface) \{|:= ",
        ),
    ),
    sign(
        OTHER,
        4,
        concat!(
            r"^[\w.]+ <- |^library\(\w+\)$|%>%|^puts |^require ['\x22]|^defmodule ",
            r"|^def [\w?!.]+$|^\$\w+ ?=|^\\(begin|documentclass)",
        ),
    ),
    sign(
        OTHER,
        3,
        concat!(
            r"^(int|long|float|double|char|bool|string|String|var|auto|byte)(\[\]",
            r"|<.*>)? \w+( ?=.*)?;$|^my [$@%]",
        ),
    ),
    sign(
        OTHER,
        3,
        r"^(FROM [\w./:-]+( AS \w+)?|RUN .+|COPY \S+ \S+|WORKDIR /.*|ENTRYPOINT \[.*|CMD \[.*)$",
    ),
    sign(OTHER, 3, r"^end$|\bdo \|.*\|$"),
];
