//! The report of a run: the public JSON of `cellblock run --json`.
//!
//! ```json
//! {
//!   "executor": "wasi", "isolation": "wasm", "exit_code": 0,
//!   "blocks": [{
//!     "index": 0, "language": "python", "inferred": false, "filename": "plot.py", "line": 3,
//!     "executor": "wasi", "isolation": "wasm",
//!     "outcome": {"kind": "exited", "code": 0},
//!     "stdout": "done\n", "stderr": "", "dropped": {"stdout": 0, "stderr": 0},
//!     "artifacts": [{"path": "figure-1.png", "media_type": "image/png", "bytes": 20314}],
//!     "refused": [], "installed": ["humanize==4.15.0"],
//!     "attempts": [
//!       {"outcome": {"kind": "exited", "code": 1}, "stdout": "", "stderr": "Traceback …",
//!        "missing": ["humanize"], "installed": ["humanize==4.15.0"], "duration_ms": 1.5},
//!       {"outcome": {"kind": "exited", "code": 0}, "duration_ms": 2.25}
//!     ],
//!     "notes": [], "state_lost": false, "duration_ms": 803.0
//!   }]
//! }
//! ```
//!
//! Sizes are in bytes, durations in milliseconds. `language`, `filename`, `executor` and
//! `isolation` of a block can be `null`. A reader must accept unknown fields and kinds.

use std::time::Duration;

use cellblock_exec::{Artifact, Isolation, Language, Limit, Outcome, RefusedFile, causes, millis};
use serde::{Deserialize, Serialize};

use crate::CodeBlock;

/// The results of all blocks of an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunReport {
    /// The executor's name.
    pub executor: String,
    /// The isolation between the programs and the host: the weakest, if blocks ran in different
    /// executors.
    pub isolation: Isolation,
    /// The exit status of the whole run: that of the first block that did not succeed, see
    /// [`Outcome::exit_code`]; 125 when `error` is set.
    pub exit_code: u8,
    /// One entry for each block of the answer, in order.
    pub blocks: Vec<BlockReport>,
    /// The failure of the sandbox that ended the run, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorReport>,
}

/// The result of one block.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BlockReport {
    /// Its place among the blocks, from 0.
    pub index: usize,
    /// Its language; `None` if it is unknown.
    pub language: Option<Language>,
    /// True if the language was inferred.
    pub inferred: bool,
    /// The file name that the answer gives to it.
    pub filename: Option<String>,
    /// The line where its fence starts, from 1.
    pub line: usize,
    /// The executor of its last attempt; `None` if it did not run.
    pub executor: Option<String>,
    /// The isolation of its last attempt; `None` if it did not run.
    pub isolation: Option<Isolation>,
    /// Limits that were only watched; see
    /// [`Capabilities::watched`](cellblock_exec::Capabilities::watched).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub watched: Vec<Limit>,
    /// The outcome of its last attempt.
    pub outcome: Outcome,
    /// Standard output of the last attempt, with U+FFFD for invalid UTF-8.
    pub stdout: String,
    /// Standard error of the last attempt, likewise.
    pub stderr: String,
    /// The number of bytes dropped from them.
    pub dropped: Dropped,
    /// Files that it made or changed, in all attempts.
    pub artifacts: Vec<Artifact>,
    /// Files that are not artifacts, each with the reason.
    pub refused: Vec<RefusedFile>,
    /// Packages that were installed for it, as `name==version`.
    pub installed: Vec<String>,
    /// The attempts to run it, in order. Empty if it did not run.
    pub attempts: Vec<Attempt>,
    /// Further information for a person, such as a denied installation and what would allow it.
    pub notes: Vec<String>,
    /// True if it lost the variables and imports of the session.
    pub state_lost: bool,
    /// True if the sandbox failed while it ran this block; [`RunReport::error`] says how.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sandbox_failed: bool,
    /// Time for the whole block, including installations.
    #[serde(rename = "duration_ms", with = "millis")]
    pub duration: Duration,
}

impl BlockReport {
    /// Creates the report of a block that did not run.
    pub fn not_run(block: &CodeBlock, outcome: Outcome) -> Self {
        Self {
            index: block.index,
            language: block.language.clone(),
            inferred: block.inferred,
            filename: block.filename.clone(),
            line: block.line,
            executor: None,
            isolation: None,
            watched: Vec::new(),
            outcome,
            stdout: String::new(),
            stderr: String::new(),
            dropped: Dropped::default(),
            artifacts: Vec::new(),
            refused: Vec::new(),
            installed: Vec::new(),
            attempts: Vec::new(),
            notes: Vec::new(),
            state_lost: false,
            sandbox_failed: false,
            duration: Duration::ZERO,
        }
    }
}

/// The number of bytes dropped from each stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// Bytes of standard output.
    pub stdout: u64,
    /// Bytes of standard error.
    pub stderr: u64,
}

/// One attempt to run a block, and the installations after its failure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// Its outcome.
    pub outcome: Outcome,
    /// Its standard output; `None` for the last attempt, whose output is the block's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdout: Option<String>,
    /// Its standard error, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stderr: Option<String>,
    /// The import names or commands that it lacked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    /// Packages installed after it, as `name==version`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub installed: Vec<String>,
    /// The duration of the program.
    #[serde(rename = "duration_ms", with = "millis")]
    pub duration: Duration,
}

/// An error with its causes, outermost first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorReport {
    /// The failure.
    pub message: String,
    /// The causes, each of the previous one.
    pub causes: Vec<String>,
}

impl ErrorReport {
    /// Collects the messages of an error and of its causes.
    pub fn new(error: &dyn std::error::Error) -> Self {
        Self {
            message: error.to_string(),
            causes: causes(error).map(ToString::to_string).collect(),
        }
    }
}
