//! A session: one live interpreter, its files, and what was installed for it.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use async_trait::async_trait;
use cellblock_cache::storage_error;
use cellblock_exec::{
    Capture, Error, ExecutionRequest, ExecutionResult, InputFile, InstallReport, Isolation,
    Language, Limits, Outcome, Requirement, Result, Session, Usage, filename, python::HostCalls,
};

use crate::{
    fs::{Errno, Fs, Quota, WORKSPACE},
    host,
    images::{Loaded, PACKAGES_DIRECTORY, stored},
    memory::{MemoryImage, Slot, Template, write_sparse},
    packages::{self, PackageSet},
    python::dictionary,
    turn::{self, Bounds, Ended},
};

/// The executor's name.
pub(crate) const NAME: &str = "wasi";

/// A session that has written more than this, in bytes, is frozen before it is forked, so that the fork copies little.
const FORK_BY_COPYING: usize = 8 * 1024 * 1024;

/// What the sessions of one executor share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) loaded: Loaded,
    pub(crate) template: Arc<Template>,
}

/// A live interpreter in WebAssembly.
#[derive(Debug)]
pub(crate) struct WasiSession {
    shared: Arc<Shared>,
    /// What the slot was made from, and where it goes back to.
    template: Arc<Template>,
    /// `None` once the interpreter is lost; the next block gets a fresh one.
    slot: Option<Slot>,
    /// The files of a session whose interpreter is lost.
    files: Option<Fs>,
    /// A turn began and has not ended: if this is still so at the next call, its future was dropped.
    running: bool,
    /// Whether this copy of the image has had its first block.
    begun: bool,
    /// Whether the last block had input.
    had_stdin: bool,
    /// How many blocks have run; a block without a name is called by its number.
    blocks: u64,
    limits: Limits,
    environment: BTreeMap<String, String>,
    installed: Vec<PackageSet>,
}

impl WasiSession {
    /// A session on a slot that equals its image.
    pub(crate) fn new(
        shared: Arc<Shared>,
        template: Arc<Template>,
        slot: Slot,
        limits: Limits,
        environment: BTreeMap<String, String>,
    ) -> Self {
        let mut session = Self {
            shared,
            template,
            slot: None,
            files: None,
            running: false,
            begun: false,
            had_stdin: false,
            blocks: 0,
            limits,
            environment,
            installed: Vec::new(),
        };
        session.take_slot(slot);
        session
    }

    /// A session that goes on from a frozen one.
    pub(crate) fn resumed(
        shared: Arc<Shared>,
        template: Arc<Template>,
        slot: Slot,
        limits: Limits,
        installed: Vec<PackageSet>,
    ) -> Self {
        let mut session = Self::new(shared, template, slot, limits, BTreeMap::new());
        session.begun = true;
        session.installed = installed;
        let quota = session.quota();
        if let Some(slot) = &mut session.slot {
            // With what it had used: a frozen session cannot win a new quota by being resumed.
            let mut fs = slot.image.fs.clone();
            fs.quota = quota;
            slot.store.data_mut().fs = fs;
        }
        session
    }

    fn take_slot(&mut self, mut slot: Slot) {
        let host = slot.store.data_mut();
        host.memory_limit = self.limits.memory;
        host.fs.set_quota(self.quota());
        self.slot = Some(slot);
    }

    fn quota(&self) -> Quota {
        Quota { bytes: self.limits.disk, files: u64::from(self.limits.files) }
    }

    /// A live slot: a fresh one, with the session's files, if the interpreter was lost.
    async fn slot(&mut self) -> Result<&mut Slot> {
        if std::mem::take(&mut self.running) {
            self.lose_interpreter();
        }
        if self.slot.is_none() {
            // A lost fork starts over from the image that all sessions start from, not from the state it was forked at.
            self.template = self.shared.template.clone();
            let slot = self.template.acquire().await.map_err(lost)?;
            self.take_slot(slot);
            self.begun = false;
            if let (Some(slot), Some(mut files)) = (&mut self.slot, self.files.take()) {
                files.restart(&slot.image.fs);
                slot.store.data_mut().fs = files;
            }
        }
        self.slot.as_mut().ok_or_else(|| lost(wasmtime::Error::msg("there is no interpreter")))
    }

    /// Keeps the files of an interpreter that cannot go on.
    fn lose_interpreter(&mut self) {
        if let Some(mut slot) = self.slot.take() {
            self.files = Some(std::mem::take(&mut slot.store.data_mut().fs));
        }
    }

    /// The session's files.
    async fn fs(&mut self) -> Result<&mut Fs> {
        Ok(&mut self.slot().await?.store.data_mut().fs)
    }

    /// Runs a block that `turn` holds as its request.
    async fn run_request(&mut self, turn: host::Turn, bounds: &Bounds) -> Result<Ended> {
        self.slot().await?;
        let has_first_words = !self.environment.is_empty() || !self.installed.is_empty();
        if !self.begun && has_first_words {
            let ended = self.run_source(&self.first_words(), host::Turn::default(), bounds).await?;
            if !ended.alive {
                return Ok(ended);
            }
        }
        // New input, or the end of the old one.
        let has_stdin = !turn.stdin.is_empty();
        let stdin = std::mem::replace(&mut self.had_stdin, has_stdin) || has_stdin;
        let len = turn.request.len();
        // A statement, because the guest compiles a last expression by itself, to show its value.
        let source = match (self.begun, stdin) {
            (true, false) => format!("assert not __cellblock__({len})"),
            (begun, stdin) => {
                format!("assert not __cellblock__({len},{},{})", u8::from(!begun), u8::from(stdin))
            }
        };
        self.begun = true;
        self.run_source(&source, turn, bounds).await
    }

    /// Runs Python in the interpreter itself, not as a block.
    async fn run_source(
        &mut self,
        source: &str,
        turn: host::Turn,
        bounds: &Bounds,
    ) -> Result<Ended> {
        let fuel = self.template.guest.fuel;
        let _running = self.shared.loaded.ticking.turn();
        self.slot().await?.store.data_mut().turn = turn;
        let slot = self
            .slot
            .as_mut()
            .ok_or_else(|| lost(wasmtime::Error::msg("there is no interpreter")))?;
        self.running = true;
        let ended = turn::run(slot, source.as_bytes(), bounds, fuel).await;
        self.running = false;
        ended
    }

    /// What a fresh copy of the image has to know of this session.
    fn first_words(&self) -> String {
        let environment = dictionary(&self.environment);
        let mut words = format!("__import__('os').environ.update({environment})\n");
        for set in &self.installed {
            words += &set.use_in_python(PACKAGES_DIRECTORY);
        }
        words
    }

    /// The session's memory and files as an image of their own; the session goes on as a copy of it.
    fn freeze_in_memory(&mut self) -> Result<()> {
        let Some(slot) = &mut self.slot else { return Ok(()) };
        let image = memory_file(slot)
            .map_err(|source| storage_error("write", Path::new("a memory file"), source))?;
        let image = Arc::new(image);
        slot.rebase(image.clone()).map_err(|error| lost(error.into()))?;
        self.template = Arc::new(Template::new(self.template.guest.clone(), image, 0));
        Ok(())
    }
}

/// A copy of the slot's state in a file without a name.
fn memory_file(slot: &Slot) -> std::io::Result<MemoryImage> {
    use nix::sys::memfd::{MFdFlags, memfd_create};
    let mut file = std::fs::File::from(memfd_create(c"cellblock-fork", MFdFlags::MFD_CLOEXEC)?);
    write_sparse(&mut file, slot.bytes())?;
    MemoryImage::new(
        file,
        slot.bytes().len(),
        slot.image.globals.clone(),
        slot.store.data().fs.clone(),
    )
}

#[async_trait]
impl Session for WasiSession {
    async fn execute(&mut self, request: ExecutionRequest) -> Result<ExecutionResult> {
        if request.language.as_ref() != Some(&Language::PYTHON) {
            let language =
                request.language.as_ref().map_or("code of unknown language", Language::as_str);
            let what = format!("{language}: the wasi executor runs python");
            return Ok(not_run(Outcome::Unsupported { what }));
        }
        if request.cancel.is_cancelled() {
            // Nothing has begun, so nothing is lost.
            return Ok(not_run(Outcome::Cancelled));
        }
        if let Some(name) = &request.filename {
            let content = Arc::new(request.code.clone().into_bytes());
            self.write_file(InputFile { path: name.clone(), content }).await?;
        }
        let since = self.fs().await?.changes;
        self.blocks += 1;
        let name = request.filename.unwrap_or_else(|| format!("<block {}>", self.blocks));
        let turn = host::Turn {
            request: format!("{name}\n{}", request.code).into_bytes(),
            stdin: request.stdin,
            stdout: Capture::new(self.limits.output),
            stderr: Capture::new(self.limits.output),
            sink: request.sink,
            calls: request.host.map(|tools| Arc::new(HostCalls::new(Some(tools)))),
            ..host::Turn::default()
        };
        let wall = request.wall.map_or(self.limits.wall, |wall| wall.min(self.limits.wall));
        let bounds = Bounds { wall, cpu: self.limits.cpu, cancel: request.cancel };
        let ended = match self.run_request(turn, &bounds).await {
            Ok(ended) => ended,
            Err(error) => {
                self.lose_interpreter();
                return Err(error);
            }
        };
        let slot = self.slot().await?;
        let memory = slot.bytes().len() as u64;
        let host = slot.store.data_mut();
        let collected = host.fs.changed_since(since);
        let turn = std::mem::take(&mut host.turn);
        if !ended.alive {
            self.lose_interpreter();
        }
        Ok(ExecutionResult {
            outcome: ended.outcome,
            stdout: turn.stdout.finish(),
            stderr: turn.stderr.finish(),
            artifacts: collected.artifacts,
            watched: Vec::new(),
            refused: collected.refused,
            usage: Usage { wall: ended.wall, cpu: ended.cpu, memory, fuel: ended.fuel },
            executor: NAME.to_owned(),
            isolation: Isolation::Wasm,
            state_lost: !ended.alive,
            notes: Vec::new(),
        })
    }

    async fn write_file(&mut self, file: InputFile) -> Result<()> {
        let path = filename::workspace_path(&file.path)
            .map_err(|why| Error::Invalid { what: "file name", why: why.to_string() })?;
        let put = self.fs().await?.put_file(&format!("{WORKSPACE}/{path}"), file.content);
        put.map_err(|errno| Error::Invalid {
            what: "workspace file",
            why: match errno {
                Errno::Nospc => {
                    format!("{path} does not fit into the session's disk or file limit; raise it")
                }
                errno => format!("{path} cannot be put there ({errno:?})"),
            },
        })
    }

    async fn install(&mut self, packages: &[Requirement]) -> Result<InstallReport> {
        let set = packages::install(&self.shared.loaded, &self.installed, packages).await?;
        let installed: Vec<String> = set.versions().collect();
        if installed.is_empty() {
            return Ok(InstallReport { installed });
        }
        let layer = self.shared.loaded.layer(&set.key)?;
        let path = set.directory(PACKAGES_DIRECTORY);
        self.fs().await?.mount(&path, &set.key, layer).map_err(|errno| Error::Install {
            packages: installed.join(" "),
            why: format!("the session has no room for another layer ({errno:?})"),
        })?;
        if self.begun {
            let bounds = Bounds { wall: self.limits.wall, cpu: None, cancel: Default::default() };
            let source = set.use_in_python(PACKAGES_DIRECTORY);
            if !self.run_source(&source, host::Turn::default(), &bounds).await?.alive {
                self.lose_interpreter();
            }
        }
        self.installed.push(set);
        Ok(InstallReport { installed })
    }

    async fn fork(&mut self) -> Result<Box<dyn Session>> {
        self.slot().await?;
        let copyable = |slot: &Slot| {
            let ranges = slot.written()?;
            (ranges.iter().map(ExactSizeIterator::len).sum::<usize>() <= FORK_BY_COPYING)
                .then_some(ranges)
        };
        let mut ranges = self.slot.as_ref().and_then(copyable);
        if ranges.is_none() {
            self.freeze_in_memory()?;
            ranges = Some(Vec::new());
        }
        let mut slot = self.template.acquire().await.map_err(lost)?;
        let (Some(own), Some(ranges)) = (&self.slot, ranges) else {
            return Err(lost(wasmtime::Error::msg("there is no interpreter to fork")));
        };
        slot.copy_from(own, &ranges);
        let host = slot.store.data_mut();
        host.fs = own.store.data().fs.clone();
        host.memory_limit = self.limits.memory;
        Ok(Box::new(Self {
            shared: self.shared.clone(),
            template: self.template.clone(),
            slot: Some(slot),
            files: None,
            running: false,
            begun: self.begun,
            had_stdin: self.had_stdin,
            blocks: self.blocks,
            limits: self.limits.clone(),
            environment: self.environment.clone(),
            installed: self.installed.clone(),
        }))
    }

    async fn freeze(&mut self, into: &Path) -> Result<()> {
        let guest = self.shared.loaded.guest_id.clone();
        let slot = self.slot().await?;
        let mut builder = std::fs::DirBuilder::new();
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(into).map_err(|source| storage_error("create", into, source))?;
        stored::write(into, &guest, slot.bytes(), &slot.image.globals, &slot.store.data().fs)?;
        packages::write_list(into, &self.installed)
    }

    async fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

impl Drop for WasiSession {
    fn drop(&mut self) {
        // A turn whose future was dropped left the guest in the middle of something: such a slot is not used again.
        if let (Some(slot), false) = (self.slot.take(), self.running) {
            self.template.release(slot);
        }
    }
}

/// The result of a block that does not run.
fn not_run(outcome: Outcome) -> ExecutionResult {
    ExecutionResult::not_run(NAME, Isolation::Wasm, outcome)
}

fn lost(error: wasmtime::Error) -> Error {
    Error::Lost { what: "the interpreter".to_owned(), source: error.into() }
}
