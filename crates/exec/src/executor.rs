//! The contract: an executor opens sessions, a session runs blocks.

use std::{collections::BTreeMap, fmt, path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::{
    Error, Result,
    host::HostTools,
    language::Language,
    limits::{Limit, Limits, Network},
    requirement::{InstallReport, Requirement},
    result::{ExecutionResult, Isolation},
};

/// A place where code runs. It opens sessions.
#[async_trait]
pub trait Executor: fmt::Debug + Send + Sync {
    /// Returns its name, as the option `--executor` takes it.
    fn name(&self) -> &'static str;

    /// Returns what it can run and enforce on this machine.
    fn capabilities(&self) -> &Capabilities;

    /// Opens a session.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a limit or grant that it cannot enforce, [`Error::Invalid`] for
    /// an invalid value, [`Error::Start`] when the sandbox does not start.
    async fn open(&self, spec: SessionSpec) -> Result<Box<dyn Session>>;

    /// Opens a session from a directory that [`Session::freeze`] wrote. Its content is trusted:
    /// resume only sessions that you froze yourself.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where sessions cannot be frozen; [`Error::Start`] when the frozen
    /// session is damaged or was made with another image.
    async fn resume(&self, frozen: &Path, limits: Limits) -> Result<Box<dyn Session>> {
        let _ = (frozen, limits);
        Err(Error::Unsupported(format!(
            "the {} executor cannot resume a frozen session",
            self.name()
        )))
    }
}

/// A live interpreter with a workspace. Blocks that run in it share variables, imports and files.
///
/// Dropping a session ends it and leaves nothing behind; so does dropping the future of a call.
#[async_trait]
pub trait Session: fmt::Debug + Send {
    /// Runs one block.
    ///
    /// # Errors
    /// [`Error::Lost`] when the sandbox itself fails. A program that fails, traps or runs out of
    /// time is an `Ok`.
    async fn execute(&mut self, request: ExecutionRequest) -> Result<ExecutionResult>;

    /// Writes a file into the workspace, and makes its directories.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a path outside the workspace, or when the quota is used up.
    async fn write_file(&mut self, file: InputFile) -> Result<()>;

    /// Installs packages for the session's interpreter.
    ///
    /// # Errors
    /// [`Error::Install`] when a package does not exist, does not work here, or cannot be fetched.
    async fn install(&mut self, packages: &[Requirement]) -> Result<InstallReport>;

    /// Returns a second session that continues from the state of this one.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where sessions cannot be forked.
    async fn fork(&mut self) -> Result<Box<dyn Session>> {
        Err(Error::Unsupported("this executor cannot fork a session".into()))
    }

    /// Writes the whole state of the session to the directory `into`, which must not exist. Another
    /// process can continue from it with [`Executor::resume`]; this session continues, too.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where sessions cannot be frozen, [`Error::Storage`] when the state
    /// cannot be written.
    async fn freeze(&mut self, into: &Path) -> Result<()> {
        let _ = into;
        Err(Error::Unsupported("this executor cannot freeze a session".into()))
    }

    /// Ends the session and waits until it is cleaned up.
    ///
    /// # Errors
    /// [`Error::Lost`] when something could not be cleaned up.
    async fn close(self: Box<Self>) -> Result<()>;
}

/// The abilities of an executor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// Languages it runs.
    pub languages: Vec<Language>,
    /// The isolation between program and host.
    pub isolation: Isolation,
    /// Limits that it enforces; a session that asks for another is refused. A limit on something
    /// that cannot exist here, such as processes, counts as enforced.
    pub limits: Vec<Limit>,
    /// The part of `limits` that is only watched: usage is measured many times a second, and a
    /// program over the limit is stopped. Until then it has had more, and some usage may not be
    /// seen. Sessions with [`SessionSpec::strict_limits`] are refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub watched: Vec<Limit>,
    /// True if it can allow chosen hosts.
    pub network: bool,
    /// True if blocks of a session share variables and imports.
    pub state: bool,
    /// True if sessions can be forked.
    pub fork: bool,
    /// True if sessions can be frozen and resumed.
    pub freeze: bool,
    /// True if packages can be installed.
    pub install: bool,
}

impl Capabilities {
    /// Checks that the limits of `spec` can be enforced. `executor` is the name for messages,
    /// `min_memory` the memory that the interpreter needs, in bytes.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an invalid limit; [`Error::Unsupported`] for one that cannot be
    /// enforced, or is only watched where the session requires more.
    pub fn check(&self, executor: &str, spec: &SessionSpec, min_memory: u64) -> Result<()> {
        spec.limits.check()?;
        if spec.limits.memory < min_memory {
            let least = min_memory.div_ceil(1024 * 1024);
            let why = format!(
                "{} bytes are less than the interpreter needs; give at least {least} MiB",
                spec.limits.memory
            );
            return Err(Error::Invalid { what: "memory limit", why });
        }
        for limit in spec.limits.asked() {
            if !self.limits.contains(&limit) {
                return Err(Error::Unsupported(format!(
                    "the {executor} executor cannot enforce a limit on {limit} here; do not set it"
                )));
            }
            if spec.strict_limits && self.watched.contains(&limit) {
                return Err(Error::Unsupported(format!(
                    "the {executor} executor can only watch the limit on {limit} here, not \
                     enforce it; use another executor, or turn strict limits off"
                )));
            }
        }
        Ok(())
    }

    /// Returns the limits of a session that are only watched.
    pub fn watched_of(&self, limits: &Limits) -> Vec<Limit> {
        limits.asked().filter(|limit| self.watched.contains(limit)).collect()
    }
}

/// The specification of a new session.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SessionSpec {
    /// Its limits.
    pub limits: Limits,
    /// True if the session must not open where a limit can only be watched. Default: false.
    pub strict_limits: bool,
    /// The hosts that it may connect to.
    pub network: Network,
    /// The image that it starts from; `None` is the executor's default.
    pub image: Option<String>,
    /// Environment variables. The host's environment is not inherited.
    pub environment: BTreeMap<String, String>,
    /// Files to put into the workspace.
    pub files: Vec<InputFile>,
}

/// A file for a workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputFile {
    /// Its path in the workspace: relative, with `/`.
    pub path: String,
    /// Its content.
    pub content: Arc<Vec<u8>>,
}

/// One block to run.
#[derive(Clone)]
pub struct ExecutionRequest {
    /// The source text.
    pub code: String,
    /// Its language.
    pub language: Language,
    /// The name to show in tracebacks. The code is also saved under it in the workspace.
    pub filename: Option<String>,
    /// The program's standard input.
    pub stdin: Arc<Vec<u8>>,
    /// A shorter deadline than the session's. A longer one has no effect.
    pub wall: Option<Duration>,
    /// Receives output while it arrives, up to the session's output limit for each stream.
    pub sink: Option<OutputSink>,
    /// Functions of the host that the program may call through `from host import tools`. Default:
    /// none.
    pub host: Option<Arc<dyn HostTools>>,
    /// Ends the execution early, as [`Outcome::Cancelled`](crate::Outcome::Cancelled).
    pub cancel: CancellationToken,
}

impl ExecutionRequest {
    /// Creates a request to run code, with empty standard input and no grant.
    pub fn new(language: Language, code: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            language,
            filename: None,
            stdin: Arc::default(),
            wall: None,
            sink: None,
            host: None,
            cancel: CancellationToken::new(),
        }
    }

    /// Creates a request to run Python code.
    pub fn python(code: impl Into<String>) -> Self {
        Self::new(Language::PYTHON, code)
    }
}

impl fmt::Debug for ExecutionRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExecutionRequest")
            .field("language", &self.language)
            .field("filename", &self.filename)
            .field("code", &self.code)
            .field("wall", &self.wall)
            .finish_non_exhaustive()
    }
}

/// A receiver of output as it arrives. It runs on the thread of the guest and must not block.
pub type OutputSink = Arc<dyn Fn(Stream, &[u8]) + Send + Sync>;

/// A standard stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}
