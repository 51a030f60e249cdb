//! A code block of a model's answer.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Serialize};

use crate::filename::PathRefused;

/// A programming language by its canonical lower-case name, such as `python` or `javascript`.
///
/// The set is open: an executor says which languages it runs. [`Language::from_tag`] maps the tags that people and
/// models write (`py`, `Python3`, `c++`) to canonical names.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Language(Cow<'static, str>);

impl Language {
    /// Python 3.
    pub const PYTHON: Language = Language::from_static("python");
    /// The Bourne-again shell.
    pub const BASH: Language = Language::from_static("bash");
    /// The POSIX shell.
    pub const SH: Language = Language::from_static("sh");
    /// JavaScript, as Node runs it.
    pub const JAVASCRIPT: Language = Language::from_static("javascript");

    /// A language from its canonical name.
    pub const fn from_static(name: &'static str) -> Self {
        Self(Cow::Borrowed(name))
    }

    /// A language from its canonical name.
    pub fn new(name: impl Into<String>) -> Self {
        Self(Cow::Owned(name.into()))
    }

    /// The canonical name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether blocks of this language are shell commands (`bash` or `sh`).
    pub fn is_shell(&self) -> bool {
        *self == Self::BASH || *self == Self::SH
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One fenced code block.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeBlock {
    /// Its place among the blocks of the text, from 0.
    pub index: usize,
    /// The language of its tag or, when it has none, the inferred one; `None` when neither is known.
    pub language: Option<Language>,
    /// Whether the language was inferred: from the file name's extension, or else from the code.
    pub inferred: bool,
    /// The file name that the answer gives to the block: relative, with `/`, inside the workspace.
    pub filename: Option<String>,
    /// The file name that the answer gives to the block, when it must not be used. `filename` is `None` then, and the
    /// block is to be denied: code that was meant for a certain file is not run as if it had no name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused_filename: Option<PathRefused>,
    /// The line where the fence starts, from 1.
    pub line: usize,
    /// The code, with `\n` line ends.
    pub code: String,
}
