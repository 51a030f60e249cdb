//! Install commands in a block: `pip install x` in a shell block or a Python cell asks for a package; it is not a command
//! to run.
//!
//! What counts as an install command: `pip install`, `pip3 install`, `python -m pip install` (any Python, also as a path,
//! also after `sudo`, `!`, `%` or a `$` prompt), `uv pip install` and `uv add`. `conda install` does not, because conda's
//! names are not PyPI's: in a shell block it is a command like any other, in a Python cell it is refused.
//!
//! All requests of a block are met before the rest of it runs, whatever stands before them: `pip install x && python y.py`
//! installs `x` and then runs `true && python y.py`, so that the exit status is right; when `x` cannot be installed, the
//! block does not run. A request under an `if` is met in any case.

mod pip;
mod python;
mod shell;

use cellblock_exec::{Language, Requirement};

/// A block without its install commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// The install commands, in order.
    pub requests: Vec<InstallRequest>,
    /// What remains to be run, with every line at its old number: `true` (shell) or `pass` (Python) stands where an
    /// install command was. `None` when nothing remains but blank lines and comments.
    pub code: Option<String>,
}

/// One install command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstallRequest {
    /// Its line in the block, from 1.
    pub line: usize,
    /// What it asks for. Empty for `pip install --upgrade pip`: the installer is not the program's to change.
    pub packages: Vec<Requirement>,
}

/// Why an install command is not taken. The block must not run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("install command in line {line} of the block: {why}")]
pub struct RequestRefused {
    /// Its line in the block, from 1.
    pub line: usize,
    /// What is wrong with it, and what to write instead.
    pub why: String,
}

/// Splits a block into install requests and the code that remains.
///
/// Blocks in bash, sh and Python are split. One in another shell (zsh, fish, PowerShell, batch) is taken apart only when it
/// holds nothing but install commands, which look the same in all of them.
///
/// # Errors
/// [`RequestRefused`] for an install command that asks for more than packages of the index, such as a requirements file, a
/// URL or another index.
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
