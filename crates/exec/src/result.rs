//! The result of running a block.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{limits::Limit, millis};

/// The result of one execution. A failing program is a result, not an [`Error`](crate::Error).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExecutionResult {
    /// The way the program ended.
    pub outcome: Outcome,
    /// Its standard output.
    pub stdout: Captured,
    /// Its standard error.
    pub stderr: Captured,
    /// Files of the workspace that are new or changed, by path.
    pub artifacts: Vec<Artifact>,
    /// Files that are not artifacts, each with the reason.
    pub refused: Vec<RefusedFile>,
    /// The resources that it used.
    pub usage: Usage,
    /// The executor that ran it, by its name.
    pub executor: String,
    /// The isolation between the program and the host.
    pub isolation: Isolation,
    /// Limits of the session that were only watched: a program could exceed them for a moment. See
    /// [`Capabilities::watched`](crate::Capabilities::watched).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub watched: Vec<Limit>,
    /// True if variables and imports were lost, as after a crash or a timeout. The next block of
    /// the session starts with a fresh interpreter; files of the workspace stay.
    pub state_lost: bool,
    /// Further information for a person, such as why this executor was chosen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

impl ExecutionResult {
    /// Creates the result of a block that did not run.
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

/// The way a program ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// It exited with this code; 0 is success.
    Exited {
        /// The exit code.
        code: i32,
    },
    /// It crashed. A WebAssembly trap is reported as the signal that the same fault raises in a
    /// native process.
    Signaled {
        /// The signal number.
        signal: i32,
    },
    /// It reached a limit and was stopped, or failed because of it.
    LimitExceeded {
        /// The limit.
        limit: Limit,
    },
    /// A policy forbids it. It did not run.
    Denied {
        /// The denied action, and what would allow it.
        what: String,
    },
    /// This executor cannot run it. It did not run.
    Unsupported {
        /// The missing ability, and what could run it.
        what: String,
    },
    /// The caller cancelled it.
    Cancelled,
    /// It did not run, because an earlier block failed.
    Skipped,
}

impl Outcome {
    /// True if the program exited with 0.
    pub fn is_success(&self) -> bool {
        matches!(self, Outcome::Exited { code: 0 })
    }

    /// Returns the exit status that stands for the outcome: 0 for success, 1 for a failure, 124 at
    /// the wall limit (as `timeout` does), 126 for denied or unsupported, 130 for cancelled (as a
    /// shell reports Ctrl-C). A skipped block has none of its own: 0.
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

/// A captured stream: its head, its tail, and the number of bytes dropped between them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Captured {
    /// The kept bytes. If `dropped` is not 0, a line in the gap says so.
    pub bytes: Vec<u8>,
    /// The number of bytes dropped.
    pub dropped: u64,
}

impl Captured {
    /// Returns the bytes as text, with U+FFFD for invalid UTF-8.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

/// The form in JSON: the bytes are text, with U+FFFD for invalid UTF-8.
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
    /// Its content. It is not in the JSON: a report names the file, and the caller stores it.
    #[serde(skip)]
    pub content: Arc<Vec<u8>>,
    /// The file that the caller stored it in; `None` until then. The `cellblock` command sets it,
    /// because the name in its output directory can differ from the name in the workspace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

impl Artifact {
    /// Creates an artifact that is not stored yet, with the media type of its name.
    pub fn new(path: String, content: Arc<Vec<u8>>) -> Self {
        let (media_type, bytes) = (media_type(&path), content.len() as u64);
        Self { path, media_type, bytes, content, file: None }
    }
}

/// The maximum size of an artifact, in bytes: a caller can be expected to hold it in memory and
/// show it.
pub const MAX_ARTIFACT_BYTES: u64 = 64 * 1024 * 1024;

/// The maximum number of artifacts of one block. More are refused by name.
pub const MAX_ARTIFACTS: usize = 1000;

/// Returns the media type of a file, from its name; `application/octet-stream` if it is unknown.
pub fn media_type(path: &str) -> String {
    mime_guess::from_path(path).first_or_octet_stream().essence_str().to_owned()
}

/// A file that is no artifact and stays in the session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedFile {
    /// Its path in the workspace.
    pub path: String,
    /// The reason.
    pub reason: String,
}

/// The resources that an execution used.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Wall time, in milliseconds in JSON.
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

/// The isolation between a program and the host. Levels are ordered from the strongest, which is
/// the least, to none.
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
