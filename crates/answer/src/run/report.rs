//! What a run gave: the public JSON of `cellblock run --json`.
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
//! Sizes are bytes, durations milliseconds. `language`, `filename`, `executor` and `isolation` of a block are `null` when there is none. A reader must accept
//! fields and kinds that it does not know.

use std::time::Duration;

use cellblock_exec::{Artifact, Isolation, Language, Limit, Outcome, RefusedFile, millis};
use serde::{Deserialize, Serialize};

use crate::CodeBlock;

/// What became of all blocks of an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunReport {
    /// The executor's name.
    pub executor: String,
    /// What stood between the programs and the host; where blocks ran in different executors, the weakest that ran.
    pub isolation: Isolation,
    /// The exit status of the whole run: that of the first block that did not succeed, see [`Outcome::exit_code`]; 125 when `error`
    /// is set.
    pub exit_code: u8,
    /// One entry for each block of the answer, in order.
    pub blocks: Vec<BlockReport>,
    /// Why the run could not go on, when the sandbox and not a program failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
}

/// What became of one block.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BlockReport {
    /// Its place among the blocks, from 0.
    pub index: usize,
    /// Its language; `None` when that is unknown.
    pub language: Option<Language>,
    /// Whether the language was inferred from the code.
    pub inferred: bool,
    /// The file name that the answer gives to it.
    pub filename: Option<String>,
    /// The line where its fence starts, from 1.
    pub line: usize,
    /// The executor that ran it, the last time; `None` when it did not run.
    pub executor: Option<String>,
    /// What stood between it and the host; `None` when it did not run.
    pub isolation: Option<Isolation>,
    /// Limits that were watched and not enforced, see [`Capabilities::watched`](cellblock_exec::Capabilities::watched).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub watched: Vec<Limit>,
    /// How it ended; the last attempt's.
    pub outcome: Outcome,
    /// What the last attempt wrote to standard output, with U+FFFD for what is not UTF-8.
    pub stdout: String,
    /// What the last attempt wrote to standard error, likewise.
    pub stderr: String,
    /// How much of them was dropped.
    pub dropped: Dropped,
    /// Files that it made or changed, over all attempts.
    pub artifacts: Vec<Artifact>,
    /// Files that were not taken, each with the reason.
    pub refused: Vec<RefusedFile>,
    /// Packages that were installed for it, as `name==version`.
    pub installed: Vec<String>,
    /// Each time the program ran, in order. Empty when it did not run.
    pub attempts: Vec<Attempt>,
    /// What a person should know besides, such as an installation that was denied and what would allow it.
    pub notes: Vec<String>,
    /// Whether variables and imports of the session were lost in it.
    pub state_lost: bool,
    /// Time for the whole block, installations included.
    #[serde(rename = "duration_ms", with = "millis")]
    pub duration: Duration,
}

impl BlockReport {
    /// The report of a block that did not run.
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
            duration: Duration::ZERO,
        }
    }
}

/// The number of bytes dropped from each stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// Of standard output.
    pub stdout: u64,
    /// Of standard error.
    pub stderr: u64,
}

/// One time that a block ran, and what was done about its failure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// How it ended.
    pub outcome: Outcome,
    /// Its standard output; `None` for the last attempt, whose output is the block's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdout: Option<String>,
    /// Its standard error, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stderr: Option<String>,
    /// What it found missing: import names or commands.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    /// What was installed after it, as `name==version`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub installed: Vec<String>,
    /// Time that the program ran.
    #[serde(rename = "duration_ms", with = "millis")]
    pub duration: Duration,
}

/// A failure of ours with its causes, outermost first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What failed.
    pub message: String,
    /// Why, each the cause of the one before.
    pub causes: Vec<String>,
}

impl Failure {
    /// The messages of an error and of all its sources.
    pub fn new(error: &dyn std::error::Error) -> Self {
        let causes = std::iter::successors(error.source(), |cause| cause.source());
        Self { message: error.to_string(), causes: causes.map(ToString::to_string).collect() }
    }
}
