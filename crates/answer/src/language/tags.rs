//! The table of languages: canonical name, file extension, and the other tags that people and models write.

/// What a block in a language is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It is there to be run.
    Program,
    /// It is there to be read: data, output, a transcript, markup.
    Data,
}

/// One language.
pub struct Row {
    /// The canonical name, which is a tag, too.
    pub name: &'static str,
    /// The usual extension of its files, without the dot. Other than `txt` it is a tag, too.
    pub extension: &'static str,
    /// Other tags, lower case. Other extensions of its files are among them.
    pub aliases: &'static [&'static str],
    /// What its blocks are for.
    pub kind: Kind,
}

const fn program(
    name: &'static str,
    extension: &'static str,
    aliases: &'static [&'static str],
) -> Row {
    Row { name, extension, aliases, kind: Kind::Program }
}

const fn data(
    name: &'static str,
    extension: &'static str,
    aliases: &'static [&'static str],
) -> Row {
    Row { name, extension, aliases, kind: Kind::Data }
}

/// All languages whose tags are known.
///
/// `shell` means whatever shell there is, and bash runs what is written for sh, too. `zsh` and `fish` are languages of
/// their own: what is written for them does not mean the same in bash. A `console` block is a transcript, with prompts
/// and output among the commands, so it is not a program; a `pycon` block likewise.
pub const LANGUAGES: &[Row] = &[
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
