//! The executor: it opens sessions in cells of this machine.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use cellblock_cache::user_directory;
use cellblock_driver::{
    DriverProgram, DriverSession, INTERPRETERS, MIN_MEMORY, PackageDirectories, Relays, Setup,
    relays,
};
use cellblock_exec::{
    BoxFuture, Capabilities, Error, Executor, Isolation, Language, Limit, Network, Result, Session,
    SessionSpec,
};
use parking_lot::Mutex;

use crate::{
    blueprint::{Blueprint, CellDirectories},
    cell::{LocalCell, temporary_directory},
    groups::{Controller, counts},
    interpreter::{self, Python, VirtualEnvironment},
    launcher::client::Launcher,
    levels,
    packages::{PackageSource, SessionPackages},
    protocol::{CellKind, HostFacts, Request},
};

/// The executor's name.
pub const NAME: &str = "local";

/// The directories of programs in every cell.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// The options of a [`LocalExecutor`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// The level of isolation between programs and the host. `None`, the default, uses the stronger
    /// of namespaces and Landlock that works here. A level that is named is used, or refused if it
    /// does not work. [`Isolation::None`] is used only if it is named.
    pub isolation: Option<Isolation>,
    /// The interpreter for Python; links are followed. `None`, the default, uses the first on
    /// `PATH` that is not a script.
    pub python: Option<PathBuf>,
    /// A virtual environment that sessions can use but not change. Its interpreter is used.
    pub venv: Option<PathBuf>,
    /// The name of a persistent environment: packages that a session installs in it are there for
    /// later sessions. `None`, the default, installs packages for one session only.
    pub environment: Option<String>,
    /// The directory of the cache for installed packages and the driver's compiled program. `None`,
    /// the default, is the user's cache.
    pub cache: Option<PathBuf>,
}

/// An executor that runs blocks in cells of this machine.
#[derive(Debug)]
pub struct LocalExecutor {
    launcher: Mutex<Arc<Launcher>>,
    /// The directory for the directories of cells.
    temporary: PathBuf,
    isolation: Isolation,
    python: Python,
    venv: Option<VirtualEnvironment>,
    program: DriverProgram,
    /// The source of packages; `None` where nothing can be installed.
    source: Option<Arc<PackageSource>>,
    path: String,
    capabilities: Capabilities,
}

impl LocalExecutor {
    /// Starts an executor: tests which level of isolation works, and finds the interpreter.
    ///
    /// # Errors
    /// [`Error::Unsupported`] when the named level does not work here, or none does;
    /// [`Error::Invalid`] for an interpreter or environment that cannot be used; [`Error::Start`]
    /// when there is no interpreter, or the launcher does not start.
    pub fn start(options: Options) -> BoxFuture<'static, Result<Self>> {
        Box::pin(Self::start_here(options))
    }

    async fn start_here(options: Options) -> Result<Self> {
        let temporary = temporary_directory();
        let launcher = Arc::new(Launcher::start(&temporary).await?);
        let isolation = levels::choose(&launcher, options.isolation).await?;
        if options.venv.is_some() && options.environment.is_some() {
            let why = "a virtual environment is not changed, so it cannot be persistent; name one \
                       or the other"
                .to_owned();
            return Err(Error::Invalid { what: "environment", why });
        }
        let (python, venv) = find_python(&options, isolation)?;
        let cache = options.cache.map_or_else(user_directory, Ok);
        let program = match &cache {
            Ok(cache) => {
                DriverProgram::stored_at(cache.join("drivers").join(compiled_name(&python)))
            }
            Err(_) => DriverProgram::new(),
        };
        let source = match &venv {
            Some(_) => None,
            None => package_source(cache, &python, options.environment, isolation)?,
        };
        let path = match python.program.parent() {
            Some(bin) if !bin.starts_with("/usr") => format!("{}:{PATH}", bin.display()),
            _ => PATH.to_owned(),
        };
        let mut capabilities = capabilities(isolation, launcher.facts(), &path);
        capabilities.install = source.is_some();
        let executor = Self {
            launcher: Mutex::new(launcher.clone()),
            temporary,
            isolation,
            python,
            venv,
            program,
            source,
            path,
            capabilities,
        };
        launcher.send(&Request::Prepare(executor.kind()));
        Ok(executor)
    }

    /// Returns the interpreter that sessions have.
    pub fn python(&self) -> &Python {
        &self.python
    }

    fn kind(&self) -> CellKind {
        let venv = self.venv.iter().map(|venv| venv.directory.clone());
        // Every cell sees `/usr`.
        let prefix = Some(self.python.prefix.clone()).filter(|prefix| !prefix.starts_with("/usr"));
        CellKind {
            isolation: self.isolation,
            visible: prefix.into_iter().chain(venv).collect(),
            python: Some(self.python.program.clone()),
        }
    }

    /// Returns the launcher; a new one if the old one was killed.
    async fn launcher(&self) -> Result<Arc<Launcher>> {
        let current = self.launcher.lock().clone();
        if !current.is_closed() {
            return Ok(current);
        }
        let new = Arc::new(Launcher::start(&self.temporary).await?);
        *self.launcher.lock() = new.clone();
        Ok(new)
    }

    /// Checks that this executor can enforce and grant everything in the specification.
    fn check(&self, spec: &SessionSpec) -> Result<Relays> {
        self.capabilities.check(NAME, spec, MIN_MEMORY)?;
        if let Some(image) = &spec.image {
            let why = format!(
                "the local executor has no images, so it has no `{image}`; name a virtual \
                 environment"
            );
            return Err(Error::Invalid { what: "image", why });
        }
        if !self.capabilities.network && spec.network != Network::Denied {
            let why = format!(
                "at the level `{}` no host can be allowed; that needs namespaces",
                self.isolation
            );
            return Err(Error::Unsupported(why));
        }
        relays(&spec.network)
    }
}

#[async_trait]
impl Executor for LocalExecutor {
    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn open(&self, spec: SessionSpec) -> Result<Box<dyn Session>> {
        let relays = self.check(&spec)?;
        let launcher = self.launcher().await?;
        let number = launcher.next_cell();
        let name = launcher.cell_name(number)?;
        let in_namespaces = self.isolation == Isolation::Namespaces;
        let on_host = self.temporary.join(format!("{name}-packages"));
        let in_cell = if in_namespaces { PathBuf::from("/packages") } else { on_host.clone() };
        let mut packages = SessionPackages::new(self.source.clone(), on_host.clone(), in_cell);
        let persistent = packages.install_persistent().await?;
        let directories = CellDirectories {
            files: (!in_namespaces).then(|| self.temporary.join(&name)),
            packages: self.source.is_some().then_some(on_host),
        };
        let facts = launcher.facts();
        let blueprint =
            Blueprint::for_session(self.kind(), &self.path, &spec, &relays, facts, directories);
        let memory_is_refused =
            !counts(&facts.groups, Controller::Memory) && blueprint.memory.is_some();
        let (cell, stream) = LocalCell::start(launcher, number, blueprint, packages).await?;
        let stderr = cell.stderr();
        let of_venv = self.venv.as_ref().map(|venv| PackageDirectories {
            modules: venv.modules.display().to_string(),
            programs: venv.programs.display().to_string(),
        });
        let setup = Setup {
            executor: NAME,
            isolation: self.isolation,
            watched: self.capabilities.watched_of(&spec.limits),
            limits: spec.limits,
            environment: spec.environment,
            files: spec.files,
            relays: relays.relays,
            packages: persistent.or(of_venv),
            memory_is_refused,
            program: self.program.clone(),
        };
        match DriverSession::start(cell, stream, setup).await {
            Ok(session) => Ok(Box::new(session)),
            // The first process of the cell knows better why it did not become a driver.
            Err(Error::Start { what, source }) => Err(match stderr.failure() {
                Some(failure) => Error::Start { what: "a cell".to_owned(), source: failure.into() },
                None => Error::Start { what, source },
            }),
            Err(error) => Err(error),
        }
    }
}

/// Finds the interpreter that the options name, and the virtual environment if they name one.
fn find_python(
    options: &Options,
    isolation: Isolation,
) -> Result<(Python, Option<VirtualEnvironment>)> {
    match (&options.python, &options.venv) {
        (Some(_), Some(_)) => {
            let why = "a virtual environment has its own interpreter; name one or the other";
            Err(Error::Invalid { what: "python", why: why.to_owned() })
        }
        (None, Some(directory)) => {
            let (python, venv) = interpreter::find_venv(directory, isolation)?;
            Ok((python, Some(venv)))
        }
        (named, None) => {
            let path = std::env::var("PATH").unwrap_or_default();
            Ok((interpreter::find(named.as_deref(), &path, isolation)?, None))
        }
    }
}

/// Returns the source of packages in this cache; `None` for a user without a place for a cache, who
/// can run programs all the same, but install nothing.
fn package_source(
    cache: Result<PathBuf>,
    python: &Python,
    environment: Option<String>,
    isolation: Isolation,
) -> Result<Option<Arc<PackageSource>>> {
    let is_persistent = environment.is_some();
    let source = cache.and_then(|cache| {
        PackageSource::new(cache, python.program.clone(), environment, isolation)
    });
    match source {
        Ok(source) => Ok(Some(Arc::new(source))),
        Err(Error::Storage { .. }) if !is_persistent => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns what this machine can run and enforce at a level.
fn capabilities(isolation: Isolation, facts: &HostFacts, path: &str) -> Capabilities {
    let is_there = |program: &&'static str| {
        std::env::split_paths(path).any(|directory| directory.join(program).exists())
    };
    let others =
        INTERPRETERS.iter().filter(|interpreter| interpreter.programs.iter().any(is_there));
    let counted = [
        (Limit::Cpu, counts(&facts.groups, Controller::Cpu)),
        (Limit::Memory, counts(&facts.groups, Controller::Memory)),
        (Limit::Processes, counts(&facts.groups, Controller::Pids)),
    ];
    let can_watch = facts.lists_children;
    let found = counted.into_iter().filter(|(_, counted)| *counted || can_watch);
    // Without a file system of its own, a cell's files are watched, which is always possible.
    let own_files = isolation == Isolation::Namespaces;
    let files = [(Limit::Disk, own_files), (Limit::Files, own_files)];
    let always = [(Limit::Wall, true), (Limit::Output, true)];
    let all: Vec<_> = always.into_iter().chain(files).chain(found).collect();
    let watched = all.iter().filter(|(_, enforced)| !enforced).map(|(limit, _)| *limit).collect();
    let limits = all.into_iter().map(|(limit, _)| limit).collect();
    let languages =
        [Language::PYTHON].into_iter().chain(others.map(|other| Language::new(other.language)));
    Capabilities {
        languages: languages.collect(),
        isolation,
        limits,
        watched,
        network: isolation == Isolation::Namespaces,
        state: true,
        fork: false,
        freeze: false,
        install: false,
    }
}

/// Returns the name of the file for the driver's program, compiled by this interpreter.
fn compiled_name(python: &Python) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    DriverProgram::text().hash(&mut hasher);
    python.program.hash(&mut hasher);
    let modified = std::fs::metadata(&python.program).and_then(|found| found.modified());
    modified.ok().hash(&mut hasher);
    Path::new(&format!("driver-{:016x}", hasher.finish())).to_owned()
}
