//! The parts of a block: its install requests, and the code that remains.

use cellblock_exec::Requirement;

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
