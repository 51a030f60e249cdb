//! Languages that are run by a program of their own. A new one is one row.

use serde::Serialize;

/// How blocks of a language are run: the program is started with the arguments and the path of a file with the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Interpreter {
    /// The language's canonical name.
    pub language: &'static str,
    /// Programs that run it; the first that is there is taken.
    pub programs: &'static [&'static str],
    /// The extension of the file, without the dot: some programs go by it.
    pub extension: &'static str,
    /// Arguments before the file.
    pub arguments: &'static [&'static str],
}

/// All of them. Python is not among them: it has an interpreter that lives as long as the session.
pub const INTERPRETERS: &[Interpreter] = &[
    Interpreter { language: "bash", programs: &["bash"], extension: "sh", arguments: &[] },
    Interpreter { language: "sh", programs: &["sh"], extension: "sh", arguments: &[] },
    Interpreter {
        language: "javascript",
        programs: &["node", "nodejs"],
        extension: "js",
        arguments: &[],
    },
    Interpreter { language: "ruby", programs: &["ruby"], extension: "rb", arguments: &[] },
    Interpreter { language: "perl", programs: &["perl"], extension: "pl", arguments: &[] },
    Interpreter { language: "php", programs: &["php"], extension: "php", arguments: &[] },
    Interpreter {
        language: "lua",
        programs: &["lua", "lua5.4", "luajit"],
        extension: "lua",
        arguments: &[],
    },
    Interpreter {
        language: "r",
        programs: &["Rscript"],
        extension: "R",
        arguments: &["--vanilla"],
    },
];
