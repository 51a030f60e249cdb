//! A live cell, on the host's side.

use std::{
    fmt,
    io::Read,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use cellblock_driver::{Cell, CellInstall, CellUsage, DriverStream};
use cellblock_exec::{Error, Isolation, Limit, Requirement, Result};
use nix::{fcntl::OFlag, unistd::pipe2};
use parking_lot::Mutex;

use crate::{
    blueprint::Blueprint,
    failure::Failure,
    interpreter::may_enter,
    launcher::client::Launcher,
    packages::SessionPackages,
    protocol::{CellStart, DriverProcess, FileLimits, Request},
    watch::Watch,
};

/// The maximum time for a cell to end. The kernel needs milliseconds; a machine under load more.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(20);

/// The maximum that is read of the standard error of a first process, in bytes.
const MAX_STDERR: u64 = 4096;

/// A cell of this machine.
pub struct LocalCell {
    launcher: Arc<Launcher>,
    number: u64,
    blueprint: Blueprint,
    process: DriverProcess,
    watch: Option<Watch>,
    packages: SessionPackages,
    stderr: StderrPipe,
    /// True if the last reading found more files than the limits allow.
    has_too_many_files: bool,
    ended: bool,
}

impl LocalCell {
    /// Starts a cell. Its first process becomes the program of the blueprint.
    pub async fn start(
        launcher: Arc<Launcher>,
        number: u64,
        blueprint: Blueprint,
        packages: SessionPackages,
    ) -> Result<(Self, DriverStream)> {
        // Made before the request: if this future is dropped while the launcher works, the cell
        // ends all the same.
        let mut cell = Self {
            launcher,
            number,
            blueprint,
            process: DriverProcess { pid: 0, started: 0, group: None },
            watch: None,
            packages,
            stderr: StderrPipe::default(),
            has_too_many_files: false,
            ended: false,
        };
        let stream = cell.begin().await?;
        Ok((cell, stream))
    }

    /// Returns the standard error of the first process.
    pub fn stderr(&self) -> StderrPipe {
        self.stderr.clone()
    }

    fn file_limits(&self) -> FileLimits {
        let limits = &self.blueprint.limits;
        FileLimits { disk: limits.disk, files: u64::from(limits.files) }
    }

    async fn begin(&mut self) -> Result<DriverStream> {
        let failed = |source| Error::Start { what: "a cell".to_owned(), source };
        let (ours, theirs) = UnixStream::pair().map_err(|error| failed(error.into()))?;
        ours.set_nonblocking(true).map_err(|error| failed(error.into()))?;
        // Perhaps nobody reads the pipe, so a full one must not block the writer.
        let (read, write) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)
            .map_err(|error| failed(std::io::Error::from(error).into()))?;
        *self.stderr.0.lock() = Some(read);
        let start = CellStart {
            cell: self.number,
            kind: self.blueprint.kind.clone(),
            memory: self.blueprint.memory,
            tasks: self.blueprint.tasks,
            directory: self.blueprint.spec.directory.clone(),
            packages: self.blueprint.spec.packages.clone(),
        };
        let started =
            self.launcher.start_cell(start, &self.blueprint.spec, theirs.into(), write).await;
        self.process = started.map_err(|failure| failed(failure.into()))?;
        if self.blueprint.spec.program.is_some() {
            self.launcher.send(&Request::Prepare(self.blueprint.kind.clone()));
        }
        self.watch = Watch::new(
            self.blueprint.kind.isolation,
            self.process.clone(),
            &self.launcher.facts().groups,
            self.blueprint.spec.directory.clone(),
            self.blueprint.limits.clone(),
        );
        let stream =
            tokio::net::UnixStream::from_std(ours).map_err(|error| failed(error.into()))?;
        let (reader, writer) = stream.into_split();
        Ok(DriverStream { reader: Box::new(reader), writer: Box::new(writer) })
    }
}

impl fmt::Debug for LocalCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalCell")
            .field("number", &self.number)
            .field("process", &self.process)
            .field("isolation", &self.blueprint.kind.isolation)
            .finish_non_exhaustive()
    }
}

impl Drop for LocalCell {
    fn drop(&mut self) {
        if !self.ended {
            drop(self.launcher.end_cell(self.number));
        }
    }
}

#[async_trait]
impl Cell for LocalCell {
    fn stop_programs(&mut self) {
        if self.blueprint.kind.isolation != Isolation::Namespaces {
            let limits = self.file_limits();
            let over = std::mem::take(&mut self.has_too_many_files).then_some(limits);
            self.launcher.stop(self.number, over);
        }
    }

    fn usage(&mut self, exact: bool) -> Option<CellUsage> {
        let watch = self.watch.as_mut()?;
        if exact {
            watch.look_now();
        }
        let usage = watch.read();
        // A file system of its own would have refused these files. They are removed when the
        // programs are stopped for it, or, if the programs have ended before, at the next reading.
        let over = watch.has_too_many_files();
        if std::mem::replace(&mut self.has_too_many_files, over) && over {
            self.launcher.trim(self.number, self.file_limits());
        }
        Some(usage)
    }

    fn kill(&mut self) {
        self.launcher.send(&Request::Halt(self.number));
    }

    fn last_words(&mut self) -> String {
        self.stderr.text()
    }

    fn limit_hit(&mut self) -> Option<Limit> {
        self.launcher.ran_out_of_memory(self.number).then_some(Limit::Memory)
    }

    async fn restart(&mut self) -> Result<DriverStream> {
        if self.blueprint.kind.isolation == Isolation::Namespaces {
            return Err(Error::Lost {
                what: "the cell has ended, and its files with it; open a new session".to_owned(),
                source: "its first process is gone".into(),
            });
        }
        self.begin().await
    }

    async fn install(&mut self, packages: &[Requirement]) -> Result<CellInstall> {
        self.packages.install(packages).await
    }

    async fn close(mut self: Box<Self>) -> Result<()> {
        self.ended = true;
        let ended = self.launcher.end_cell(self.number);
        let lost =
            |source| Err(Error::Lost { what: "a cell that was to be closed".to_owned(), source });
        match tokio::time::timeout(CLOSE_TIMEOUT, ended).await {
            Ok(Ok(None)) => Ok(()),
            Ok(Ok(Some(remaining))) => lost(remaining.into()),
            Ok(Err(_)) => lost("the launcher of local cells has ended".into()),
            Err(_) => lost("it did not end in time".into()),
        }
    }
}

/// The standard error of a cell's first process.
#[derive(Debug, Clone, Default)]
pub struct StderrPipe(Arc<Mutex<Option<OwnedFd>>>);

impl StderrPipe {
    /// Returns the text that is there now, without waiting.
    pub fn text(&self) -> String {
        let pipe = self.0.lock();
        let copy = pipe.as_ref().and_then(|pipe| pipe.as_fd().try_clone_to_owned().ok());
        let mut bytes = Vec::new();
        if let Some(copy) = copy {
            // An empty pipe is an error here, but bytes that came before it stay in `bytes`.
            let _ = std::fs::File::from(copy).take(MAX_STDERR).read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Returns the failure that the text reports, if there is text.
    pub fn failure(&self) -> Option<Failure> {
        let text = self.text();
        let text = text.trim();
        (!text.is_empty()).then(|| {
            serde_json::from_str(text).unwrap_or_else(|_| Failure::new("start the driver", text))
        })
    }
}

/// Returns the directory for the directories of cells: the first directory for temporary files that
/// programs can reach.
pub fn temporary_directory() -> PathBuf {
    let candidates = [std::env::temp_dir(), "/tmp".into(), "/var/tmp".into()];
    let is_reachable = |path: &PathBuf| path.is_absolute() && path.ancestors().all(may_enter);
    candidates.iter().find(|path| is_reachable(path)).cloned().unwrap_or_else(std::env::temp_dir)
}
