//! An executor whose cells have no walls.

use std::{path::Path, process::Stdio, sync::LazyLock, time::Duration};

use async_trait::async_trait;
use cellblock_driver::{
    Cell, CellInstall, CellUsage, DriverConfig, DriverProgram, DriverSession, DriverStream,
    INTERPRETERS, Relay, Setup, command,
};
use cellblock_exec::{
    Capabilities, Error, Executor, Isolation, Language, Limit, Requirement, Result, Session,
    SessionSpec,
};
use tokio::process::{Child, Command};

/// Hides the host's control groups, which are not the cell's: the driver must not read them.
const BEFORE: &str = "mount -t tmpfs none /sys/fs/cgroup && exec /usr/bin/python3 \"$@\"";

/// Opens sessions without walls. They need the right to make a process namespace.
#[derive(Debug)]
pub struct Bare;

static PROGRAM: LazyLock<DriverProgram> = LazyLock::new(DriverProgram::new);
static CAPABILITIES: LazyLock<Capabilities> = LazyLock::new(|| Capabilities {
    languages: languages(),
    isolation: Isolation::None,
    watched: Vec::new(),
    limits: vec![Limit::Wall, Limit::Output],
    network: false,
    state: true,
    fork: false,
    freeze: false,
    install: false,
});

/// Returns Python, and the languages that this machine has an interpreter for.
fn languages() -> Vec<Language> {
    let is_there = |program: &&str| {
        ["/usr/local/bin", "/usr/bin", "/bin"]
            .iter()
            .any(|bin| Path::new(bin).join(program).exists())
    };
    let found =
        INTERPRETERS.iter().filter(|interpreter| interpreter.programs.iter().any(&is_there));
    std::iter::once(Language::PYTHON)
        .chain(found.map(|interpreter| Language::new(interpreter.language)))
        .collect()
}

/// The options of a session for one test.
#[derive(Debug, Clone)]
pub struct BareOptions {
    /// The addresses where the driver listens for hosts.
    pub relays: Vec<Relay>,
    /// The driver's program.
    pub program: DriverProgram,
    /// True if a lost driver is replaced on the same files.
    pub restarts: bool,
}

impl Default for BareOptions {
    fn default() -> Self {
        Self { relays: Vec::new(), program: PROGRAM.clone(), restarts: false }
    }
}

#[derive(Debug)]
struct BareCell {
    child: Child,
    config: DriverConfig,
    restarts: bool,
    _directory: tempfile::TempDir,
}

#[async_trait]
impl Executor for Bare {
    fn name(&self) -> &'static str {
        "bare"
    }

    fn capabilities(&self) -> &Capabilities {
        &CAPABILITIES
    }

    async fn open(&self, spec: SessionSpec) -> Result<Box<dyn Session>> {
        if spec.limits.wall.is_zero() {
            return Err(Error::Invalid { what: "wall limit", why: "it is 0".into() });
        }
        if let Some(image) = spec.image {
            return Err(Error::Invalid { what: "image", why: image });
        }
        let limits = &spec.limits;
        if limits.cpu.is_some()
            || [limits.memory, limits.disk].iter().any(|limit| *limit != u64::MAX)
            || [limits.files, limits.processes].iter().any(|limit| *limit != u32::MAX)
            || spec.network != Default::default()
        {
            return Err(Error::Unsupported("there are no walls".into()));
        }
        open_as(spec, BareOptions::default()).await
    }
}

/// Opens a session with these options.
pub async fn open_as(spec: SessionSpec, options: BareOptions) -> Result<Box<dyn Session>> {
    let directory = tempfile::tempdir().unwrap();
    let mut config = DriverConfig::new(&spec.limits);
    config.workspace = directory.path().join("workspace").display().to_string();
    config.temporary = directory.path().join("tmp").display().to_string();
    for path in [&config.workspace, &config.temporary] {
        std::fs::create_dir(path).unwrap();
    }
    config.relays = options.relays.clone();
    let (child, stream) = start(&config);
    let setup = Setup {
        executor: "bare",
        isolation: Isolation::None,
        limits: spec.limits,
        environment: spec.environment,
        files: spec.files,
        relays: options.relays,
        packages: None,
        watched: Vec::new(),
        memory_is_refused: false,
        program: options.program,
    };
    let cell = BareCell { child, config, restarts: options.restarts, _directory: directory };
    Ok(Box::new(DriverSession::start(cell, stream, setup).await?))
}

fn start(config: &DriverConfig) -> (Child, DriverStream) {
    let mut child = Command::new("unshare")
        .args(["--map-root-user", "--pid", "--fork", "--kill-child", "--mount-proc"])
        .args(["sh", "-c", BEFORE, "sh"])
        .args(command(config))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let (reader, writer) = (child.stdout.take().unwrap(), child.stdin.take().unwrap());
    (child, DriverStream { reader: Box::new(reader), writer: Box::new(writer) })
}

/// Adds the usage of a process and its descendants.
fn add_tree(pid: u32, usage: &mut CellUsage) {
    let read =
        |name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
    let stat = read("stat");
    let ticks = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    // 100 ticks a second, and pages of 4 KiB.
    usage.cpu +=
        Duration::from_millis(ticks.map(|ticks| ticks.parse::<u64>().unwrap_or(0) * 10).sum());
    usage.memory += read("statm")
        .split_whitespace()
        .nth(1)
        .map_or(0, |pages| pages.parse::<u64>().unwrap_or(0) * 4096);
    for child in read(&format!("task/{pid}/children")).split_whitespace() {
        add_tree(child.parse().unwrap(), usage);
    }
}

#[async_trait]
impl Cell for BareCell {
    fn usage(&mut self, _exact: bool) -> Option<CellUsage> {
        let mut usage = CellUsage::default();
        add_tree(self.child.id()?, &mut usage);
        Some(usage)
    }

    fn kill(&mut self) {
        let _ = self.child.start_kill();
    }

    async fn restart(&mut self) -> Result<DriverStream> {
        if !self.restarts {
            let source = "its first process is gone".into();
            return Err(Error::Lost { what: "the cell has ended".to_owned(), source });
        }
        let (child, stream) = start(&self.config);
        self.child = child;
        Ok(stream)
    }

    async fn install(&mut self, _packages: &[Requirement]) -> Result<CellInstall> {
        Err(Error::Unsupported("nothing can be installed here".into()))
    }

    async fn close(mut self: Box<Self>) -> Result<()> {
        let first = self.child.id().map(|pid| format!("/proc/{pid}/task/{pid}/children"));
        let first = first.and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
        let _ = self.child.kill().await;
        // The first process of the namespace ends after its parent, and all others before it.
        for pid in first.split_whitespace() {
            while std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|text| !text.is_empty()) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        Ok(())
    }
}
