//! What running a block gave.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{limits::Limit, millis};

/// What became of one execution. A failing program is a result, not an [`Error`](crate::Error).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExecutionResult {
    /// How the program ended.
    pub outcome: Outcome,
    /// Its standard output.
    pub stdout: Captured,
    /// Its standard error.
    pub stderr: Captured,
    /// Files of the workspace that are new or changed, by path.
    pub artifacts: Vec<Artifact>,
    /// Files that were not taken as artifacts, each with the reason.
    pub refused: Vec<RefusedFile>,
    /// What it used.
    pub usage: Usage,
    /// The executor that ran it, by its name.
    pub executor: String,
    /// What stood between the program and the host.
    pub isolation: Isolation,
    /// Limits of the session that were watched and not enforced: a program could have exceeded them
    /// for a moment, see [`Capabilities::watched`](crate::Capabilities::watched).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub watched: Vec<Limit>,
    /// Whether variables and imports were lost, as after a crash or a timeout. The next block of the session starts with a
    /// fresh interpreter; files of the workspace stay.
    pub state_lost: bool,
    /// What a person should know besides, such as why this executor was chosen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

impl ExecutionResult {
    /// The result of a block that did not run.
    pub fn not_run(executor: &str, isolation: Isolation, outcome: Outcome) -> Self {
        Self {
            outcome,
            stdout: Captured::default(),
            stderr: Captured::default(),
            artifacts: Vec::new(),
            refused: Vec::new(),
            usage: Usage::default(),
            executor: executor.to_owned(),
            isolation,
            watched: Vec::new(),
            state_lost: false,
            notes: Vec::new(),
        }
    }
}

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// It ended by itself with this code; 0 is success.
    Exited {
        /// The exit code.
        code: i32,
    },
    /// It crashed. For WebAssembly a trap is named by the signal that the same fault raises in a native process.
    Signaled {
        /// The signal number.
        signal: i32,
    },
    /// It reached a limit and was stopped, or failed because of it.
    LimitExceeded {
        /// Which one.
        limit: Limit,
    },
    /// A policy forbids it; it did not run.
    Denied {
        /// What was denied, and what would allow it.
        what: String,
    },
    /// This executor cannot run it; it did not run.
    Unsupported {
        /// What is missing, and what could run it.
        what: String,
    },
    /// The caller cancelled it.
    Cancelled,
    /// It did not run because a block before it failed.
    Skipped,
}

impl Outcome {
    /// Whether the program ran to its end with exit code 0.
    pub fn is_success(&self) -> bool {
        matches!(self, Outcome::Exited { code: 0 })
    }

    /// Returns the exit status that stands for the outcome: 0 for success, 1 for a failure, 124 at the wall limit (as
    /// `timeout` does), 126 for denied or unsupported, 130 for cancelled (as a shell reports Ctrl-C). A skipped block has
    /// none of its own: 0.
    pub fn exit_code(&self) -> u8 {
        match self {
            Outcome::Exited { code: 0 } | Outcome::Skipped => 0,
            Outcome::LimitExceeded { limit: Limit::Wall } => 124,
            Outcome::Denied { .. } | Outcome::Unsupported { .. } => 126,
            Outcome::Cancelled => 130,
            Outcome::Exited { .. } | Outcome::Signaled { .. } | Outcome::LimitExceeded { .. } => 1,
        }
    }
}

/// A captured stream: its beginning, its end, and how much between them was dropped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Captured {
    /// The bytes kept. When `dropped` is not 0, a line saying so stands where the gap is.
    pub bytes: Vec<u8>,
    /// The number of bytes dropped.
    pub dropped: u64,
}

impl Captured {
    /// The bytes as text; what is not UTF-8 becomes U+FFFD.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

/// In JSON the bytes are text, with U+FFFD for what is not UTF-8.
#[derive(Serialize, Deserialize)]
struct CapturedText {
    text: String,
    dropped: u64,
}

impl Serialize for Captured {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        CapturedText { text: self.text(), dropped: self.dropped }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Captured {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let CapturedText { text, dropped } = CapturedText::deserialize(deserializer)?;
        Ok(Self { bytes: text.into_bytes(), dropped })
    }
}

/// A file that a program made or changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// Its path in the workspace: relative, with `/`.
    pub path: String,
    /// Its media type, from its name.
    pub media_type: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// Its content. Not part of the JSON: a report names the file, the caller stores it.
    #[serde(skip)]
    pub content: Arc<Vec<u8>>,
    /// The file that the caller stored it in; `None` while nobody has. The `cellblock` command sets
    /// it, because the name in its output directory can be another one than in the workspace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

impl Artifact {
    /// An artifact whose media type follows from its name, and that nobody has stored.
    pub fn new(path: String, content: Arc<Vec<u8>>) -> Self {
        let (media_type, bytes) = (media_type(&path), content.len() as u64);
        Self { path, media_type, bytes, content, file: None }
    }
}

/// The largest artifact, in bytes: what a caller can be expected to hold in memory and show.
pub const MAX_ARTIFACT_BYTES: u64 = 64 * 1024 * 1024;

/// The most artifacts that one block gives; more are refused by name.
pub const MAX_ARTIFACTS: usize = 1000;

/// The media type of a file, from its name; `application/octet-stream` when the name does not tell.
pub fn media_type(path: &str) -> String {
    mime_guess::from_path(path).first_or_octet_stream().essence_str().to_owned()
}

/// A file that was left in the session, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedFile {
    /// Its path in the workspace.
    pub path: String,
    /// Why it was not taken.
    pub reason: String,
}

/// What an execution used.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Time on the clock, in milliseconds in JSON.
    #[serde(rename = "wall_ms", with = "millis")]
    pub wall: Duration,
    /// Processor time, in milliseconds in JSON.
    #[serde(rename = "cpu_ms", with = "millis")]
    pub cpu: Duration,
    /// Memory of the session at the end, in bytes.
    pub memory: u64,
    /// WebAssembly fuel spent, where the executor counts it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fuel: Option<u64>,
}

/// What stands between a program and the host, from strongest to none: a stronger level is less than a weaker one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Isolation {
    /// A WebAssembly instance with no host directory, no network and no processes.
    Wasm,
    /// A container.
    Container,
    /// A process in namespaces of its own, with seccomp and Landlock.
    Namespaces,
    /// A process under Landlock and seccomp.
    Landlock,
    /// An ordinary process.
    None,
}

impl std::fmt::Display for Isolation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Isolation::Wasm => "wasm",
            Isolation::Container => "container",
            Isolation::Namespaces => "namespaces",
            Isolation::Landlock => "landlock",
            Isolation::None => "none",
        })
    }
}
