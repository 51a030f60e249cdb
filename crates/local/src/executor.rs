//! The executor: opens sessions in cells of this machine.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use cellblock_cache::user_directory;
use cellblock_driver::{
    DriverConfig, DriverProgram, DriverSession, INTERPRETERS, MIN_MEMORY, PackageDirectories,
    Relays, Setup, command, relays,
};
use cellblock_exec::{
    Capabilities, Error, Executor, Isolation, Language, Limit, Network, Result, Session,
    SessionSpec,
};

use crate::{
    cell::{Blueprint, LocalCell, temporary},
    groups::{Controller, counts},
    inside::PROGRAMS,
    interpreter::{self, Environment, Python},
    launcher::{
        Launcher, system,
        wire::{Facts, Kind, Request, Spec},
    },
    packages::{SessionPackages, Source},
    probe::{self, LADDER},
};

/// The executor's name.
pub(crate) const NAME: &str = "local";

/// Tasks that belong to no program: the driver and the interpreter that it keeps for Python.
const OWN_TASKS: u64 = 2;

/// A greater limit on bytes is none: no machine has as many.
const NO_BYTES: u64 = 1 << 62;

/// A greater limit on tasks is none: Linux has no more numbers for them.
const NO_TASKS: u64 = 4_000_000;

/// Where programs are looked for.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// How an executor is set up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// What stands between programs and the host. `None`, the default, takes the strongest of namespaces and Landlock that
    /// works here. A level that is named is taken, or refused if it does not work; [`Isolation::None`] must be named.
    pub isolation: Option<Isolation>,
    /// The interpreter for Python; a link is followed. `None`, the default, takes the first on `PATH` that is no script.
    pub python: Option<PathBuf>,
    /// A virtual environment that sessions can use and not change. Its interpreter is taken.
    pub venv: Option<PathBuf>,
    /// The name of an environment that is kept: what sessions install in it, later ones find there. `None`, the default,
    /// installs for the session alone.
    pub environment: Option<String>,
    /// The cache, for installed packages and the driver's compiled program. `None`, the default, is the user's.
    pub cache: Option<PathBuf>,
}

/// Runs blocks in cells of this machine.
#[derive(Debug)]
pub struct LocalExecutor {
    launcher: Mutex<Arc<Launcher>>,
    temporary: PathBuf,
    isolation: Isolation,
    python: Python,
    environment: Option<Environment>,
    program: DriverProgram,
    source: Option<Arc<Source>>,
    path: String,
    capabilities: Capabilities,
}

impl LocalExecutor {
    /// Starts an executor: tries which level of isolation works, and finds the interpreter.
    ///
    /// # Errors
    /// [`Error::Unsupported`] when the level named does not work here, or none does; [`Error::Invalid`] for an interpreter
    /// or environment that cannot be used; [`Error::Start`] when there is no interpreter, or the launcher does not start.
    pub async fn start(options: Options) -> Result<Self> {
        let temporary = temporary();
        let launcher = Arc::new(Launcher::start(&temporary).await?);
        let isolation = choose(&launcher, options.isolation).await?;
        if options.venv.is_some() && options.environment.is_some() {
            let why =
                "a virtual environment is not changed, so nothing can be kept in it; name one or the other".to_owned();
            return Err(Error::Invalid { what: "environment", why });
        }
        let (python, environment) = match (&options.python, &options.venv) {
            (Some(_), Some(_)) => {
                let why = "a virtual environment has its own interpreter; name one or the other"
                    .to_owned();
                return Err(Error::Invalid { what: "python", why });
            }
            (None, Some(directory)) => {
                let (python, environment) = interpreter::find_environment(directory, isolation)?;
                (python, Some(environment))
            }
            (given, None) => {
                let path = std::env::var("PATH").unwrap_or_default();
                (interpreter::find(given.as_deref(), &path, isolation)?, None)
            }
        };
        let cache = options.cache.map_or_else(user_directory, Ok);
        let program = match &cache {
            Ok(cache) => {
                DriverProgram::stored_at(cache.join("drivers").join(compiled_name(&python)))
            }
            Err(_) => DriverProgram::new(),
        };
        let is_kept = options.environment.is_some();
        let source = match environment {
            Some(_) => None,
            None => match cache.and_then(|cache| {
                Source::new(cache, python.program.clone(), options.environment, isolation)
            }) {
                Ok(source) => Some(Arc::new(source)),
                // A user without a place for a cache can run programs all the same, but install nothing.
                Err(Error::Storage { .. }) if !is_kept => None,
                Err(error) => return Err(error),
            },
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
            environment,
            program,
            source,
            path,
            capabilities,
        };
        launcher.tell(&Request::Prepare(executor.kind()));
        Ok(executor)
    }

    /// The interpreter that sessions have.
    pub fn python(&self) -> &Python {
        &self.python
    }

    fn kind(&self) -> Kind {
        let environment = self.environment.iter().map(|environment| environment.directory.clone());
        // What is in `/usr` is seen by all.
        let prefix = Some(self.python.prefix.clone()).filter(|prefix| !prefix.starts_with("/usr"));
        Kind {
            isolation: self.isolation,
            visible: prefix.into_iter().chain(environment).collect(),
            python: Some(self.python.program.clone()),
        }
    }

    /// The launcher; a new one if the old one was killed.
    async fn launcher(&self) -> Result<Arc<Launcher>> {
        let current = self.launcher.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if !current.is_closed() {
            return Ok(current);
        }
        let new = Arc::new(Launcher::start(&self.temporary).await?);
        *self.launcher.lock().unwrap_or_else(PoisonError::into_inner) = new.clone();
        Ok(new)
    }

    fn check(&self, spec: &SessionSpec) -> Result<Relays> {
        self.capabilities.check(NAME, spec, MIN_MEMORY)?;
        if let Some(image) = &spec.image {
            let why = format!(
                "the local executor has no images, so there is no {image}; name a virtual environment"
            );
            return Err(Error::Invalid { what: "image", why });
        }
        if !self.capabilities.network && spec.network != Network::Denied {
            let why = format!(
                "at the level {} no host can be allowed; it takes namespaces",
                self.isolation
            );
            return Err(Error::Unsupported(why));
        }
        relays(&spec.network)
    }

    /// The driver's configuration and the cell for it.
    fn blueprint(
        &self,
        spec: &SessionSpec,
        needed: &Relays,
        facts: &Facts,
        directory: Option<PathBuf>,
        packages: Option<PathBuf>,
    ) -> Blueprint {
        let limits = &spec.limits;
        let in_namespaces = self.isolation == Isolation::Namespaces;
        let bytes = |value: u64| (value < NO_BYTES).then_some(value);
        let memory = bytes(limits.memory);
        let tasks = Some(u64::from(limits.processes) + OWN_TASKS).filter(|tasks| *tasks < NO_TASKS);
        let mut config = DriverConfig::new(limits);
        let programs = match &directory {
            Some(directory) => system::programs(directory),
            None => PROGRAMS.into(),
        };
        config.path = format!("{}:{}", self.path, programs.display());
        config.alone = in_namespaces;
        config.relays.clone_from(&needed.relays);
        if let Some(directory) = &directory {
            config.workspace = directory.join("workspace").display().to_string();
            config.temporary = directory.join("tmp").display().to_string();
        }
        if let (Some(directory), Isolation::Landlock) = (&directory, self.isolation) {
            config.modules = Some(system::modules(directory).display().to_string());
        }
        // The driver sees control groups only in a root of its own.
        if !in_namespaces || !counts(&facts.groups, Controller::Cpu) {
            config.cpu_ms = None;
        }
        if !counts(&facts.groups, Controller::Memory) {
            config.data = memory;
        }
        if !counts(&facts.groups, Controller::Pids) {
            config.processes = tasks.and_then(|tasks| self.most_tasks(tasks));
        }
        let spec = Spec {
            program: Some(self.python.program.clone()),
            arguments: command(&config),
            environment: vec![
                ("PATH".to_owned(), config.path.clone()),
                ("HOME".to_owned(), config.temporary.clone()),
                ("LANG".to_owned(), "C.UTF-8".to_owned()),
            ],
            directory,
            disk: bytes(limits.disk),
            files: (limits.files < u32::MAX).then_some(u64::from(limits.files)),
            relays: !needed.relays.is_empty(),
            names: needed.names.clone(),
            addresses: needed.addresses.clone(),
            packages,
        };
        Blueprint { kind: self.kind(), spec, limits: limits.clone(), memory, tasks }
    }

    /// The limit on tasks of the cell's user, where no control group counts them.
    ///
    /// What watches the cell is exact, and tells which limit was reached; this only slows down a program that makes
    /// processes faster than they can be killed. The user may have tasks elsewhere, and other cells.
    fn most_tasks(&self, tasks: u64) -> Option<u32> {
        let user = nix::unistd::Uid::effective();
        let others = match self.isolation {
            // A user namespace of its own counts nothing but the cell.
            Isolation::Namespaces if !user.is_root() => 0,
            _ => crate::watch::tasks_of(if user.is_root() {
                crate::inside::NOBODY
            } else {
                user.as_raw()
            }),
        };
        u32::try_from(others + 4 * tasks + 64).ok()
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
        let needed = self.check(&spec)?;
        let launcher = self.launcher().await?;
        let number = launcher.number();
        let name = launcher.cell_name(number)?;
        let in_namespaces = self.isolation == Isolation::Namespaces;
        let directory = (!in_namespaces).then(|| self.temporary.join(&name));
        let host_packages = self.temporary.join(format!("{name}-packages"));
        let seen_as =
            if in_namespaces { PathBuf::from("/packages") } else { host_packages.clone() };
        let mut packages =
            SessionPackages::new(self.source.clone(), host_packages.clone(), seen_as);
        let kept = packages.kept().await?;
        let seen = self.source.is_some().then_some(host_packages);
        let blueprint = self.blueprint(&spec, &needed, launcher.facts(), directory, seen);
        let memory_is_refused =
            !counts(&launcher.facts().groups, Controller::Memory) && blueprint.memory.is_some();
        let (cell, stream) = LocalCell::start(launcher, number, blueprint, packages).await?;
        let complaints = cell.complaints();
        let setup = Setup {
            executor: NAME,
            isolation: self.isolation,
            watched: self.capabilities.watched_of(&spec.limits),
            limits: spec.limits,
            environment: spec.environment,
            files: spec.files,
            relays: needed.relays,
            packages: kept.or_else(|| {
                self.environment.as_ref().map(|environment| PackageDirectories {
                    modules: environment.modules.display().to_string(),
                    programs: environment.programs.display().to_string(),
                })
            }),
            memory_is_refused,
            program: self.program.clone(),
        };
        match DriverSession::start(cell, stream, setup).await {
            Ok(session) => Ok(Box::new(session)),
            // The first process of the cell knows better why it did not come up.
            Err(Error::Start { what, source }) => Err(match complaints.failure() {
                Some(failure) => Error::Start { what: "a cell".to_owned(), source: failure.into() },
                None => Error::Start { what, source },
            }),
            Err(error) => Err(error),
        }
    }
}

/// The level to use.
async fn choose(launcher: &Arc<Launcher>, wanted: Option<Isolation>) -> Result<Isolation> {
    let candidates = match wanted {
        None => LADDER.to_vec(),
        Some(level @ (Isolation::Namespaces | Isolation::Landlock | Isolation::None)) => {
            vec![level]
        }
        Some(other) => {
            return Err(Error::Unsupported(format!(
                "the local executor has no isolation called {other}"
            )));
        }
    };
    let mut problems = Vec::new();
    for isolation in candidates {
        let rung = probe::try_rung(launcher, isolation).await?;
        let Some(problem) = rung.problem else { return Ok(isolation) };
        let hint = rung.hint.map(|hint| format!("; {hint}")).unwrap_or_default();
        problems.push(format!("{isolation}: {problem}{hint}"));
    }
    let advice = if wanted.is_none() {
        "; isolation none, if it is named, runs programs without any"
    } else {
        ""
    };
    Err(Error::Unsupported(format!(
        "no isolation for programs works here ({}){advice}",
        problems.join("; ")
    )))
}

/// What this machine can run and enforce at a level.
fn capabilities(isolation: Isolation, facts: &Facts, path: &str) -> Capabilities {
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
    // Without one of its own the file system of a cell is watched, which needs nothing.
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

/// The name of the file with the driver compiled by this interpreter.
fn compiled_name(python: &Python) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    DriverProgram::text().hash(&mut hasher);
    python.program.hash(&mut hasher);
    let modified = std::fs::metadata(&python.program).and_then(|found| found.modified());
    modified.ok().hash(&mut hasher);
    Path::new(&format!("driver-{:016x}", hasher.finish())).to_owned()
}
