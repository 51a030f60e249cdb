//! The languages that a program of their own runs. A new language is one row.

use serde::Serialize;

/// The way in which blocks of a language run: the driver starts the program with the arguments and
/// the path of a file with the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct LanguageInterpreter {
    /// The language's canonical name.
    pub language: &'static str,
    /// Programs that run it; the driver takes the first that exists.
    pub programs: &'static [&'static str],
    /// The extension of the file, without the dot: some programs depend on it.
    pub extension: &'static str,
    /// Arguments before the file.
    pub arguments: &'static [&'static str],
}

/// All interpreters. Python is not among them: its interpreter lives as long as the session.
pub const INTERPRETERS: &[LanguageInterpreter] = &[
    LanguageInterpreter { language: "bash", programs: &["bash"], extension: "sh", arguments: &[] },
    LanguageInterpreter { language: "sh", programs: &["sh"], extension: "sh", arguments: &[] },
    LanguageInterpreter {
        language: "javascript",
        programs: &["node", "nodejs"],
        extension: "js",
        arguments: &[],
    },
    LanguageInterpreter { language: "ruby", programs: &["ruby"], extension: "rb", arguments: &[] },
    LanguageInterpreter { language: "perl", programs: &["perl"], extension: "pl", arguments: &[] },
    LanguageInterpreter { language: "php", programs: &["php"], extension: "php", arguments: &[] },
    LanguageInterpreter {
        language: "lua",
        programs: &["lua", "lua5.4", "luajit"],
        extension: "lua",
        arguments: &[],
    },
    LanguageInterpreter {
        language: "r",
        programs: &["Rscript"],
        extension: "R",
        arguments: &["--vanilla"],
    },
];
