//! Languages by name.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Serialize};

/// A programming language by its canonical lower-case name, such as `python` or `javascript`.
///
/// The set is open: an executor says which languages it runs. The crate `cellblock-answer` maps the
/// tags that people and models write (`py`, `Python3`, `c++`) to canonical names.
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

    /// Creates a language from its canonical name.
    pub const fn from_static(name: &'static str) -> Self {
        Self(Cow::Borrowed(name))
    }

    /// Creates a language from its canonical name.
    pub fn new(name: impl Into<String>) -> Self {
        Self(Cow::Owned(name.into()))
    }

    /// Returns the canonical name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True if blocks of this language are shell commands (`bash` or `sh`).
    pub fn is_shell(&self) -> bool {
        *self == Self::BASH || *self == Self::SH
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
