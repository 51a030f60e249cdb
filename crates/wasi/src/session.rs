//! A session: one live interpreter, its files, and what was installed for it.
//!
//! A **fork** copies the written pages into another slot of the same image. If there are many, the
//! session is first frozen into an image in memory, and both sessions continue on that image.
//! **Freezing** writes such an image to a directory.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use async_trait::async_trait;
use cellblock_cache::storage_error;
use cellblock_exec::{
    Capture, Error, ExecutionRequest, ExecutionResult, InputFile, InstallReport, Isolation,
    Language, Limits, Outcome, Requirement, Result, Session, Usage, python::HostCalls, workspace,
};

use crate::{
    fs::{Errno, Fs, Quota, WORKSPACE},
    host::TurnState,
    images::{
        LoadedImage, PACKAGES_DIRECTORY,
        packages::{self, PackageSet},
        snapshot,
    },
    memory::{MemoryImage, Slot, Template, write_sparse},
    python::dictionary,
    turn::{self, TurnBounds, TurnEnd},
};

/// The executor's name.
pub const NAME: &str = "wasi";

/// The maximum number of written bytes that a fork copies. A session that has written more is
/// frozen first, so that the fork copies little.
const MAX_FORK_COPY: usize = 8 * 1024 * 1024;

/// The state that all sessions of one executor share.
#[derive(Debug)]
pub struct ExecutorState {
    pub loaded: LoadedImage,
    pub template: Arc<Template>,
}

/// A live interpreter in WebAssembly.
#[derive(Debug)]
pub struct WasiSession {
    shared: Arc<ExecutorState>,
    /// The template that the slot was made from, and to which it returns.
    template: Arc<Template>,
    /// `None` once the interpreter is lost; the next block gets a fresh one.
    slot: Option<Slot>,
    /// The files of a session whose interpreter is lost.
    files: Option<Fs>,
    /// True from the beginning of a turn to its end. If it is true at the next call, the turn's
    /// future was dropped.
    running: bool,
    /// True if this copy of the image has run its first block.
    begun: bool,
    /// True if the last block had input.
    had_stdin: bool,
    /// The number of blocks that have run. It is the name of a block without a name.
    blocks: u64,
    limits: Limits,
    environment: BTreeMap<String, String>,
    installed: Vec<PackageSet>,
}

impl WasiSession {
    /// Creates a session on a slot that equals its image.
    pub fn new(
        shared: Arc<ExecutorState>,
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

    /// Creates a session that continues a frozen one, on a slot that equals its image.
    pub fn resumed(
        shared: Arc<ExecutorState>,
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
            // With the bytes and files that it has used: being resumed gives a session no new
            // quota.
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

    /// Returns the live slot. If the interpreter was lost, it is a fresh one with the session's
    /// files.
    async fn slot(&mut self) -> Result<&mut Slot> {
        if std::mem::take(&mut self.running) {
            self.lose_interpreter();
        }
        if self.slot.is_none() {
            // A fork that lost its interpreter restarts from the image that all sessions start
            // from, not from the state at which it was forked.
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

    /// Drops an interpreter that cannot continue, and keeps its files.
    fn lose_interpreter(&mut self) {
        if let Some(mut slot) = self.slot.take() {
            self.files = Some(std::mem::take(&mut slot.store.data_mut().fs));
        }
    }

    /// Returns the session's files.
    async fn fs(&mut self) -> Result<&mut Fs> {
        Ok(&mut self.slot().await?.store.data_mut().fs)
    }

    /// Runs the block that is the request of `turn`.
    async fn run_request(&mut self, turn: TurnState, bounds: &TurnBounds) -> Result<TurnEnd> {
        self.slot().await?;
        let needs_setup = !self.environment.is_empty() || !self.installed.is_empty();
        if !self.begun && needs_setup {
            let ended = self.run_source(&self.setup_source(), TurnState::default(), bounds).await?;
            if !ended.alive {
                return Ok(ended);
            }
        }
        // True for new input, and for the end of the old input.
        let has_stdin = !turn.stdin.is_empty();
        let stdin = std::mem::replace(&mut self.had_stdin, has_stdin) || has_stdin;
        let len = turn.request.len();
        // A statement, because the guest compiles a last expression separately, to show its value.
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
        turn: TurnState,
        bounds: &TurnBounds,
    ) -> Result<TurnEnd> {
        let fuel = self.template.guest.fuel;
        let _running = self.shared.loaded.ticking.begin_turn();
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

    /// Returns Python that prepares a fresh copy of the image for this session: its environment
    /// variables and packages.
    fn setup_source(&self) -> String {
        let environment = dictionary(&self.environment);
        let mut source = format!("__import__('os').environ.update({environment})\n");
        for set in &self.installed {
            source += &set.use_in_python(PACKAGES_DIRECTORY);
        }
        source
    }

    /// Makes an image of the session's memory and files; the session continues as a copy of it.
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

/// Copies the slot's state into a memory image without a file name.
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
        if request.language != Language::PYTHON {
            let what = format!("{}: the wasi executor runs python", request.language);
            return Ok(not_run(Outcome::Unsupported { what }));
        }
        if request.cancel.is_cancelled() {
            // No turn has begun, so no state is lost.
            return Ok(not_run(Outcome::Cancelled));
        }
        if let Some(name) = &request.filename {
            let content = Arc::new(request.code.clone().into_bytes());
            self.write_file(InputFile { path: name.clone(), content }).await?;
        }
        let since = self.fs().await?.changes;
        self.blocks += 1;
        let name = request.filename.unwrap_or_else(|| format!("<block {}>", self.blocks));
        let turn = TurnState {
            request: format!("{name}\n{}", request.code).into_bytes(),
            stdin: request.stdin,
            stdout: Capture::new(self.limits.output),
            stderr: Capture::new(self.limits.output),
            sink: request.sink,
            calls: request.host.map(|tools| Arc::new(HostCalls::new(Some(tools)))),
            ..TurnState::default()
        };
        let wall = request.wall.map_or(self.limits.wall, |wall| wall.min(self.limits.wall));
        let bounds = TurnBounds { wall, cpu: self.limits.cpu, cancel: request.cancel };
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
        let path = workspace::workspace_path(&file.path)
            .map_err(|why| Error::Invalid { what: "file name", why: why.to_string() })?;
        let put = self.fs().await?.put_file(&format!("{WORKSPACE}/{path}"), file.content);
        put.map_err(|errno| Error::Invalid {
            what: "workspace file",
            why: match errno {
                Errno::Nospc => {
                    format!("`{path}` exceeds the session's disk or file limit; raise it")
                }
                errno => format!("cannot write `{path}` ({errno:?})"),
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
            let bounds =
                TurnBounds { wall: self.limits.wall, cpu: None, cancel: Default::default() };
            let source = set.use_in_python(PACKAGES_DIRECTORY);
            if !self.run_source(&source, TurnState::default(), &bounds).await?.alive {
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
            (ranges.iter().map(ExactSizeIterator::len).sum::<usize>() <= MAX_FORK_COPY)
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
        snapshot::write(into, &guest, slot.bytes(), &slot.image.globals, &slot.store.data().fs)?;
        packages::write_list(into, &self.installed)
    }

    async fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

impl Drop for WasiSession {
    fn drop(&mut self) {
        // A turn whose future was dropped has stopped the guest anywhere, so its slot is not
        // reused.
        if let (Some(slot), false) = (self.slot.take(), self.running) {
            self.template.release(slot);
        }
    }
}

/// Returns the result of a block that is not run.
fn not_run(outcome: Outcome) -> ExecutionResult {
    ExecutionResult::not_run(NAME, Isolation::Wasm, outcome)
}

fn lost(error: wasmtime::Error) -> Error {
    Error::Lost { what: "the interpreter".to_owned(), source: error.into() }
}
