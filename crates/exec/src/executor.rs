//! The contract between those who have code and those who can run it.

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

/// A place where code runs: it opens sessions.
#[async_trait]
pub trait Executor: fmt::Debug + Send + Sync {
    /// Its name, as `--executor` takes it.
    fn name(&self) -> &'static str;

    /// What it can run and enforce here and now.
    fn capabilities(&self) -> &Capabilities;

    /// Opens a session.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a limit or a grant that it cannot enforce; [`Error::Invalid`] for a value that makes
    /// no sense; [`Error::Start`] when the sandbox does not start.
    async fn open(&self, spec: SessionSpec) -> Result<Box<dyn Session>>;

    /// Opens a session from what [`Session::freeze`] wrote. It is trusted: resume only what you froze yourself.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where sessions cannot be frozen; [`Error::Start`] when the frozen session is damaged or was
    /// made with another image.
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
    /// Only when the sandbox itself fails ([`Error::Lost`]): a program that fails, traps or runs out of time is an `Ok`.
    async fn execute(&mut self, request: ExecutionRequest) -> Result<ExecutionResult>;

    /// Puts a file into the workspace, its parents too.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a path outside the workspace, and when the quota is used up.
    async fn write_file(&mut self, file: InputFile) -> Result<()>;

    /// Installs packages for the session's interpreter.
    ///
    /// # Errors
    /// [`Error::Install`] when there is no such package, none that works here, or no way to fetch it.
    async fn install(&mut self, packages: &[Requirement]) -> Result<InstallReport>;

    /// A second session that goes on from the state of this one.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where that cannot be done.
    async fn fork(&mut self) -> Result<Box<dyn Session>> {
        Err(Error::Unsupported("this executor cannot fork a session".into()))
    }

    /// Writes the session's whole state to the directory `into`, which must not exist yet; another process can go on
    /// from it with [`Executor::resume`]. The session itself goes on, too.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where that cannot be done; [`Error::Storage`] when it cannot be written.
    async fn freeze(&mut self, into: &Path) -> Result<()> {
        let _ = into;
        Err(Error::Unsupported("this executor cannot freeze a session".into()))
    }

    /// Ends the session and waits until nothing of it is left.
    ///
    /// # Errors
    /// [`Error::Lost`] when something could not be cleaned up.
    async fn close(self: Box<Self>) -> Result<()>;
}

/// What an executor can run and enforce.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// Languages it runs.
    pub languages: Vec<Language>,
    /// What it puts between program and host.
    pub isolation: Isolation,
    /// Limits it enforces; a session that asks for another is refused. Limits on things that cannot exist in it (such as
    /// processes) count as enforced.
    pub limits: Vec<Limit>,
    /// Those of `limits` that are watched and not enforced: what a program uses is looked at many
    /// times a second, and a program that exceeds the limit is stopped, but has had more until
    /// then, and some ways to use more may not be seen. A session with
    /// [`SessionSpec::strict_limits`] is refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub watched: Vec<Limit>,
    /// Whether it can allow chosen hosts.
    pub network: bool,
    /// Whether blocks of a session share variables and imports.
    pub state: bool,
    /// Whether sessions can be forked.
    pub fork: bool,
    /// Whether sessions can be frozen and resumed.
    pub freeze: bool,
    /// Whether packages can be installed.
    pub install: bool,
}

impl Capabilities {
    /// Checks what a session asks for against what can be enforced here. `executor` is the name for
    /// messages, `least_memory` what its interpreter needs, in bytes.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a limit that no session can have; [`Error::Unsupported`] for one that
    /// cannot be enforced, or only be watched where the session wants more.
    pub fn check(&self, executor: &str, spec: &SessionSpec, least_memory: u64) -> Result<()> {
        spec.limits.check()?;
        if spec.limits.memory < least_memory {
            let least = least_memory.div_ceil(1024 * 1024);
            let why = format!(
                "{} bytes are less than the interpreter needs; give at least {least} MiB",
                spec.limits.memory
            );
            return Err(Error::Invalid { what: "memory limit", why });
        }
        for limit in spec.limits.asked() {
            if !self.limits.contains(&limit) {
                return Err(Error::Unsupported(format!(
                    "the {executor} executor cannot enforce a limit on {limit} here; ask for none"
                )));
            }
            if spec.strict_limits && self.watched.contains(&limit) {
                return Err(Error::Unsupported(format!(
                    "the {executor} executor can only watch the limit on {limit} here, not \
                     enforce it; take another executor, or do without strict limits"
                )));
            }
        }
        Ok(())
    }

    /// The limits of a session that are only watched.
    pub fn watched_of(&self, limits: &Limits) -> Vec<Limit> {
        limits.asked().filter(|limit| self.watched.contains(limit)).collect()
    }
}

/// What a new session is to be.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SessionSpec {
    /// What it may use.
    pub limits: Limits,
    /// Refuses to open where one of the limits asked for can only be watched. Default `false`.
    pub strict_limits: bool,
    /// What it may reach.
    pub network: Network,
    /// The image it starts from; `None` is the executor's default.
    pub image: Option<String>,
    /// Environment variables. Nothing of the host's environment is passed on.
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
#[derive(Clone, Default)]
pub struct ExecutionRequest {
    /// The source text.
    pub code: String,
    /// Its language; `None` is refused as unsupported.
    pub language: Option<Language>,
    /// The name to show in tracebacks. The code is also saved under it in the workspace.
    pub filename: Option<String>,
    /// What the program reads from standard input.
    pub stdin: Arc<Vec<u8>>,
    /// A shorter deadline than the session's; a longer one is cut to the session's.
    pub wall: Option<Duration>,
    /// Receives output while it arrives, up to the session's output limit for each stream.
    pub sink: Option<OutputSink>,
    /// What the program may call on the host, as `from host import tools`. Default: nothing.
    pub host: Option<Arc<dyn HostTools>>,
    /// Ends the execution early, as [`Outcome::Cancelled`](crate::Outcome::Cancelled).
    pub cancel: CancellationToken,
}

impl ExecutionRequest {
    /// A request to run Python code.
    pub fn python(code: impl Into<String>) -> Self {
        Self { code: code.into(), language: Some(Language::PYTHON), ..Self::default() }
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

/// Receives output as it arrives. It is called on the thread that runs the guest: it must not block.
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
