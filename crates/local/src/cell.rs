//! A live cell, on the host's side.

use std::{
    fmt,
    io::Read,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use cellblock_driver::{Cell, CellInstall, CellUsage, DriverStream};
use cellblock_exec::{Error, Isolation, Limit, Limits, Requirement, Result};
use nix::{fcntl::OFlag, unistd::pipe2};

use crate::{
    launcher::{
        Launcher,
        wire::{Failure, Kind, Process, Request, Room, Spec, Start},
    },
    packages::SessionPackages,
    watch::Watch,
};

/// How long a cell may take to be gone. The kernel needs milliseconds; a machine under load more.
const PATIENCE: Duration = Duration::from_secs(20);

/// The most that is read of what a cell complains of when it starts, in bytes.
const COMPLAINTS: u64 = 4096;

/// What a cell is made from.
#[derive(Debug, Clone)]
pub(crate) struct Blueprint {
    pub kind: Kind,
    pub spec: Spec,
    pub limits: Limits,
    /// Bytes of memory, for its control group.
    pub memory: Option<u64>,
    /// Number of tasks, for its control group.
    pub tasks: Option<u64>,
}

/// A cell of this machine.
pub(crate) struct LocalCell {
    launcher: Arc<Launcher>,
    number: u64,
    blueprint: Blueprint,
    process: Process,
    watch: Option<Watch>,
    packages: SessionPackages,
    complaints: Complaints,
    /// Whether the last look found more files than there may be.
    too_much: bool,
    ended: bool,
}

impl LocalCell {
    /// Makes a cell; its first process becomes the program of the blueprint.
    pub async fn start(
        launcher: Arc<Launcher>,
        number: u64,
        blueprint: Blueprint,
        packages: SessionPackages,
    ) -> Result<(Self, DriverStream)> {
        let complaints = Complaints::default();
        // Made before the request: if this future is dropped while the launcher works, the cell ends all the same.
        let mut cell = Self {
            launcher,
            number,
            blueprint,
            process: Process { pid: 0, started: 0, group: None },
            watch: None,
            packages,
            complaints,
            too_much: false,
            ended: false,
        };
        let stream = cell.begin().await?;
        Ok((cell, stream))
    }

    /// What its first process has complained of.
    pub fn complaints(&self) -> Complaints {
        self.complaints.clone()
    }

    fn room(&self) -> Room {
        Room { disk: self.blueprint.limits.disk, files: u64::from(self.blueprint.limits.files) }
    }

    async fn begin(&mut self) -> Result<DriverStream> {
        let failed = |source| Error::Start { what: "a cell".to_owned(), source };
        let (ours, theirs) = UnixStream::pair().map_err(|error| failed(error.into()))?;
        ours.set_nonblocking(true).map_err(|error| failed(error.into()))?;
        // Nobody may ever read these, so a full pipe must not hold the writer.
        let (read, write) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)
            .map_err(|error| failed(std::io::Error::from(error).into()))?;
        self.complaints.set(read);
        let start = Start {
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
            self.launcher.tell(&Request::Prepare(self.blueprint.kind.clone()));
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
            let room = self.room();
            self.launcher.stop(self.number, std::mem::take(&mut self.too_much).then_some(room));
        }
    }

    fn usage(&mut self, exact: bool) -> Option<CellUsage> {
        let watch = self.watch.as_mut()?;
        if exact {
            watch.look_now();
        }
        let reading = watch.read();
        // A file system of its own would have refused them. They are removed when the programs are stopped for it; if these
        // have ended before, at the next look.
        let too_much = watch.has_too_many_files();
        if std::mem::replace(&mut self.too_much, too_much) && too_much {
            self.launcher.trim(self.number, self.room());
        }
        Some(reading)
    }

    fn kill(&mut self) {
        self.launcher.tell(&Request::Halt(self.number));
    }

    fn last_words(&mut self) -> String {
        self.complaints.text()
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
        let gone = self.launcher.end_cell(self.number);
        let lost = |source| {
            Err(Error::Lost { what: "a cell, when it was to be closed".to_owned(), source })
        };
        match tokio::time::timeout(PATIENCE, gone).await {
            Ok(Ok(None)) => Ok(()),
            Ok(Ok(Some(left))) => lost(left.into()),
            Ok(Err(_)) => lost("the launcher of local cells has ended".into()),
            Err(_) => lost("it does not end".into()),
        }
    }
}

/// What the first process of a cell has written to its standard error.
#[derive(Debug, Clone, Default)]
pub(crate) struct Complaints(Arc<Mutex<Option<OwnedFd>>>);

impl Complaints {
    fn set(&self, pipe: OwnedFd) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(pipe);
    }

    /// What there is now, without waiting.
    pub fn text(&self) -> String {
        let pipe = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let copy = pipe.as_ref().and_then(|pipe| pipe.as_fd().try_clone_to_owned().ok());
        let mut bytes = Vec::new();
        if let Some(copy) = copy {
            // An empty pipe is an error here, and whatever came before it stays in `bytes`.
            let _ = std::fs::File::from(copy).take(COMPLAINTS).read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The failure that they tell of, if they do.
    pub fn failure(&self) -> Option<Failure> {
        let text = self.text();
        let text = text.trim();
        (!text.is_empty()).then(|| match serde_json::from_str(text) {
            Ok(failure) => failure,
            Err(_) => {
                Failure { step: "start the driver".to_owned(), errno: 0, reason: text.to_owned() }
            }
        })
    }
}

/// Where a cell's own directory is to be, if it needs one: in the first directory for temporary files that programs can
/// reach.
pub(crate) fn temporary() -> PathBuf {
    let candidates = [std::env::temp_dir(), "/tmp".into(), "/var/tmp".into()];
    let reachable =
        |path: &PathBuf| path.is_absolute() && path.ancestors().all(crate::interpreter::may_enter);
    candidates.iter().find(|path| reachable(path)).cloned().unwrap_or_else(std::env::temp_dir)
}
