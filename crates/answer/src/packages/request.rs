//! Install commands in a block: `pip install x` in a shell block or a Python cell is a request for
//! a package, not a command to run.
//!
//! Install commands are `pip install`, `pip3 install`, `python -m pip install` (any Python, also as
//! a path, also after `sudo`, `!`, `%` or a `$` prompt), `uv pip install` and `uv add`.
//! `conda install` is none, because conda's names are not PyPI's: in a shell block it is an
//! ordinary command, in a Python cell it is refused.
//!
//! All requests of a block are fulfilled before the rest of it runs, also those that stand later:
//! `pip install x && python y.py` installs `x` and then runs `true && python y.py`, so the exit
//! status is right. A request under an `if` is fulfilled in any case.

mod pip;
mod python;
mod shell;

use cellblock_exec::{Language, Requirement};

/// A block without its install commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// The install commands, in order.
    pub requests: Vec<InstallRequest>,
    /// The remaining code, with unchanged line numbers: `true` (shell) or `pass` (Python) replaces
    /// an install command. `None` if only blank lines and comments remain.
    pub code: Option<String>,
}

/// One install command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstallRequest {
    /// Its line in the block, from 1.
    pub line: usize,
    /// The requested packages. Empty for `pip install --upgrade pip`: a program cannot change the
    /// installer.
    pub packages: Vec<Requirement>,
}

/// The reason why an install command is refused. The block must not run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("install command in line {line} of the block: {why}")]
pub struct RequestRefused {
    /// Its line in the block, from 1.
    pub line: usize,
    /// The fault, and what to write instead.
    pub why: String,
}

/// Splits a block into install requests and the code that remains.
///
/// Blocks in bash, sh and Python are split. A block in another shell (zsh, fish, PowerShell, batch)
/// is split only if it consists of install commands, which look the same in all shells.
///
/// # Errors
/// [`RequestRefused`] for an install command with more than packages of the index, such as a
/// requirements file, a URL or another index.
pub fn split_installs(language: &Language, code: &str) -> Result<Split, RequestRefused> {
    let untouched = || Split { requests: Vec::new(), code: Some(code.to_owned()) };
    match language.as_str() {
        "bash" | "sh" => shell::split(code),
        "python" => python::split(code),
        "zsh" | "fish" | "powershell" | "batch" => Ok(shell::split(code)
            .ok()
            .filter(|split| split.code.is_none())
            .unwrap_or_else(untouched)),
        _ => Ok(untouched()),
    }
}
