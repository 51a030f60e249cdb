//! The table of languages (canonical name, file extension, and the other tags that people and
//! models write), and the lookups in it.

use cellblock_exec::Language;

/// Returns the language that a tag names, such as `python` for `py`, `Python3`, `.python` and
/// `language-python`.
///
/// An unknown tag is a language of its own, in lower case; an executor refuses it by name. `None`
/// for a blank tag.
pub fn from_tag(tag: &str) -> Option<Language> {
    let tag = tag.trim().to_lowercase();
    let tag = tag.trim_start_matches('.');
    let tag = tag.strip_prefix("language-").or_else(|| tag.strip_prefix("lang-")).unwrap_or(tag);
    if tag.is_empty() {
        return None;
    }
    let version_free =
        || tag.trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, '.' | '-' | '_' | ' '));
    let row = find(tag).or_else(|| find(version_free()).filter(|row| row.name == "python"));
    Some(row.map_or_else(|| Language::new(tag), |row| Language::from_static(row.name)))
}

/// Returns the language of a file by its extension; `None` if the extension is missing or unknown.
pub fn from_filename(path: &str) -> Option<Language> {
    find(&crate::filename::extension(path)?.to_lowercase())
        .map(|row| Language::from_static(row.name))
}

/// True if the table has the tag.
pub fn is_tag(tag: &str) -> bool {
    find(&tag.to_lowercase()).is_some()
}

/// True if blocks of a language are programs. Blocks of JSON, text, program output, console
/// transcripts, HTML, CSS and the like are data: they are saved or shown, and not running them is
/// no failure. An unknown language counts as a program.
pub fn is_program(language: &Language) -> bool {
    find(language.as_str()).is_none_or(|row| row.kind == LanguageKind::Program)
}

/// Returns the extension of a file in this language, without the dot; `txt` for an unknown
/// language.
pub fn file_extension(language: &Language) -> &'static str {
    find(language.as_str()).map_or("txt", |row| row.extension)
}

/// Returns the row with `tag` as its name, an alias or its extension, in this order.
fn find(tag: &str) -> Option<&'static LanguageRow> {
    LANGUAGES
        .iter()
        .find(|row| row.name == tag)
        .or_else(|| LANGUAGES.iter().find(|row| row.aliases.contains(&tag)))
        .or_else(|| LANGUAGES.iter().find(|row| row.extension == tag))
}

/// The purpose of blocks in a language.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum LanguageKind {
    /// They are programs.
    Program,
    /// They are read or saved: data, output, transcripts, markup.
    Data,
}

/// One language.
pub struct LanguageRow {
    /// The canonical name, which is also a tag.
    pub name: &'static str,
    /// The default extension of its files, without the dot. Except `txt`, it is also a tag.
    pub extension: &'static str,
    /// Other tags in lower case, including other extensions of its files.
    pub aliases: &'static [&'static str],
    /// The purpose of its blocks.
    pub kind: LanguageKind,
}

const fn program(
    name: &'static str,
    extension: &'static str,
    aliases: &'static [&'static str],
) -> LanguageRow {
    LanguageRow { name, extension, aliases, kind: LanguageKind::Program }
}

const fn data(
    name: &'static str,
    extension: &'static str,
    aliases: &'static [&'static str],
) -> LanguageRow {
    LanguageRow { name, extension, aliases, kind: LanguageKind::Data }
}

/// All languages whose tags are known.
///
/// `shell` means any shell, and bash also runs code written for sh. `zsh` and `fish` are languages
/// of their own, because their code means something else in bash. A `console` block is a
/// transcript, with prompts and output among the commands, so it is not a program; nor is a `pycon`
/// block.
pub const LANGUAGES: &[LanguageRow] = &[
    program(
        "python",
        "py",
        &[
            "python3", "py3", "ipython", "ipython3", "cpython", "python-3", "python_3", "pyw",
            "sage",
        ],
    ),
    program("bash", "bash", &["shell", "shellscript", "shell-script"]),
    program("sh", "sh", &["posix", "dash", "ash"]),
    program("zsh", "zsh", &[]),
    program("fish", "fish", &[]),
    program("powershell", "ps1", &["pwsh", "ps", "posh"]),
    program("batch", "bat", &["cmd", "dosbatch", "batchfile", "winbatch"]),
    program(
        "javascript",
        "js",
        &["node", "nodejs", "node.js", "mjs", "cjs", "ecmascript", "es6", "jsx"],
    ),
    program("typescript", "ts", &["tsx", "mts", "cts"]),
    program("c", "c", &["h"]),
    program(
        "cpp",
        "cpp",
        &["c++", "cxx", "cc", "hpp", "hxx", "c++11", "c++14", "c++17", "c++20", "c++23"],
    ),
    program("csharp", "cs", &["c#", "c-sharp", "dotnet"]),
    program("fsharp", "fs", &["f#", "fsx"]),
    program("visualbasic", "vb", &["vb.net", "vbnet", "visual-basic"]),
    program("objective-c", "mm", &["objc", "objectivec", "obj-c"]),
    program("java", "java", &["jsh"]),
    program("kotlin", "kt", &["kts"]),
    program("scala", "scala", &["sc"]),
    program("groovy", "groovy", &[]),
    program("clojure", "clj", &["cljs", "cljc"]),
    program("swift", "swift", &[]),
    program("dart", "dart", &[]),
    program("go", "go", &["golang"]),
    program("rust", "rs", &["rustlang"]),
    program("zig", "zig", &[]),
    program("nim", "nim", &[]),
    program("d", "d", &["dlang"]),
    program("ruby", "rb", &["jruby", "irb"]),
    program("php", "php", &["php3", "php4", "php5", "php7", "php8"]),
    program("perl", "pl", &["perl5", "pm"]),
    program("raku", "raku", &["perl6"]),
    program("lua", "lua", &["luajit"]),
    program("r", "r", &["rscript", "rlang", "splus"]),
    program("julia", "jl", &[]),
    program("matlab", "m", &[]),
    program("octave", "oct", &[]),
    program("fortran", "f90", &["f77", "f95", "f03", "f08"]),
    program("cobol", "cob", &["cbl"]),
    program("pascal", "pas", &["delphi", "objectpascal"]),
    program("ada", "adb", &["ads"]),
    program("haskell", "hs", &["lhs"]),
    program("ocaml", "ml", &["mli"]),
    program("elixir", "ex", &["exs"]),
    program("erlang", "erl", &[]),
    program("elm", "elm", &[]),
    program("scheme", "scm", &["racket", "rkt"]),
    program("lisp", "lisp", &["common-lisp", "commonlisp", "cl"]),
    program("emacs-lisp", "el", &["elisp"]),
    program("prolog", "pro", &[]),
    program("tcl", "tcl", &[]),
    program("awk", "awk", &["gawk", "mawk"]),
    program("assembly", "asm", &["assembler", "nasm", "s"]),
    program("wat", "wat", &["wast"]),
    program("solidity", "sol", &[]),
    program("cuda", "cu", &[]),
    program(
        "sql",
        "sql",
        &[
            "sqlite",
            "sqlite3",
            "mysql",
            "postgres",
            "postgresql",
            "psql",
            "plsql",
            "pgsql",
            "tsql",
            "duckdb",
        ],
    ),
    program("gnuplot", "gp", &["plt"]),
    program("makefile", "mk", &["make", "gnumakefile"]),
    program("cmake", "cmake", &[]),
    program("dockerfile", "dockerfile", &["docker", "containerfile"]),
    data("html", "html", &["htm", "xhtml", "html5"]),
    data("css", "css", &["css3"]),
    data("scss", "scss", &["sass"]),
    data("less", "less", &[]),
    data("svg", "svg", &[]),
    data("xml", "xml", &["xsl", "xslt", "xsd", "plist"]),
    data("json", "json", &["geojson"]),
    data("jsonc", "jsonc", &["json5"]),
    data("jsonl", "jsonl", &["ndjson", "jsonlines", "json-lines"]),
    data("yaml", "yaml", &["yml"]),
    data("toml", "toml", &[]),
    data("ini", "ini", &["cfg", "conf", "config", "properties"]),
    data("dotenv", "env", &[]),
    data("csv", "csv", &[]),
    data("tsv", "tsv", &[]),
    data("markdown", "md", &["mkd", "mdx"]),
    data("rst", "rst", &["restructuredtext"]),
    data("tex", "tex", &["latex"]),
    data("bibtex", "bib", &[]),
    data("math", "tex", &[]),
    data("mermaid", "mmd", &[]),
    data("dot", "dot", &["graphviz", "gv"]),
    data("plantuml", "puml", &[]),
    data("diff", "diff", &["patch", "udiff"]),
    data("graphql", "graphql", &["gql"]),
    data("protobuf", "proto", &["protocol-buffers"]),
    data("hcl", "tf", &["terraform"]),
    data("regex", "txt", &["regexp"]),
    data("bnf", "txt", &["ebnf", "abnf"]),
    data("http", "http", &["https"]),
    data("log", "log", &["logs"]),
    data("output", "txt", &["out", "stdout", "stderr", "result", "results"]),
    data(
        "text",
        "txt",
        &[
            "txt",
            "plain",
            "plaintext",
            "plain-text",
            "none",
            "nohighlight",
            "ascii",
            "tree",
            "pseudocode",
            "pseudo",
        ],
    ),
    data("traceback", "txt", &["pytb", "py3tb", "python-traceback", "error"]),
    data(
        "console",
        "txt",
        &[
            "shell-session",
            "shellsession",
            "sh-session",
            "bash-session",
            "terminal",
            "session",
            "tty",
        ],
    ),
    data("pycon", "txt", &["python-console", "python-repl", "pythonrepl", "doctest"]),
];
