//! The executors of this build: a row each. The only place that knows them.

use std::{path::PathBuf, sync::Arc};

use anyhow::Result;
use cellblock_docker::{DockerExecutor, Gpus, HostMount};
use cellblock_driver::INTERPRETERS;
use cellblock_exec::{
    Check, Error, Executor, Isolation, Language,
    auto::{Auto, Candidate, Starting},
};
use cellblock_local::LocalExecutor;
use cellblock_wasi::{ImageStore, WasiExecutor};

use crate::{failure::usage, render::progress::Steps};

/// The name that lets cellblock choose.
pub const AUTO: &str = "auto";

/// An executor that this build has.
pub struct Row {
    /// Its name, as `--executor` takes it.
    pub name: &'static str,
    /// The strongest isolation that it may have.
    pub isolation: Isolation,
    /// Whether it runs languages other than Python, by programs that it finds.
    many_languages: bool,
    /// Starts it.
    start: fn(choices: Choices, steps: Steps) -> Starting,
    /// What it found out about this machine.
    checks: fn() -> Checking,
}

type Checking = std::pin::Pin<Box<dyn Future<Output = Vec<Check>> + Send>>;

/// What the caller chose for the executors' start.
#[derive(Debug, Clone, Default)]
pub struct Choices {
    /// The image; `None` is the executor's default one.
    pub image: Option<String>,
    /// The weakest isolation that may be chosen; for the local executor, the one that it has to have.
    pub isolation: Option<Isolation>,
    /// Instructions that a block may use, counted one by one.
    pub fuel: Option<u64>,
    /// The engine's runtime.
    pub runtime: Option<String>,
    /// Directories of the host that sessions see.
    pub mounts: Vec<HostMount>,
    /// Whether sessions see all graphics processors.
    pub gpus: bool,
    /// A virtual environment of the user's.
    pub venv: Option<PathBuf>,
    /// The name of a kept environment.
    pub environment: Option<String>,
}

/// All executors, strongest isolation first: `auto` asks them in this order.
pub const EXECUTORS: &[Row] = &[
    Row {
        name: "wasi",
        isolation: Isolation::Wasm,
        many_languages: false,
        start: |choices, steps| Box::pin(wasi(choices, steps)),
        checks: || Box::pin(cellblock_wasi::checks()),
    },
    Row {
        name: "docker",
        isolation: Isolation::Container,
        many_languages: true,
        start: |choices, steps| Box::pin(docker(choices, steps)),
        checks: || Box::pin(cellblock_docker::checks()),
    },
    Row {
        name: "local",
        isolation: Isolation::Namespaces,
        many_languages: true,
        start: |choices, _| Box::pin(local(choices)),
        checks: cellblock_local::checks,
    },
];

async fn wasi(choices: Choices, steps: Steps) -> cellblock_exec::Result<Arc<dyn Executor>> {
    let defaults = cellblock_wasi::Options::default();
    let image = choices.image.unwrap_or(defaults.image);
    let options =
        cellblock_wasi::Options { image, fuel: choices.fuel, ..cellblock_wasi::Options::default() };
    let executor = WasiExecutor::start(ImageStore::in_user_cache()?, options, &steps).await?;
    Ok(Arc::new(executor))
}

async fn docker(choices: Choices, steps: Steps) -> cellblock_exec::Result<Arc<dyn Executor>> {
    let defaults = cellblock_docker::Options::default();
    let options = cellblock_docker::Options {
        image: choices.image.unwrap_or(defaults.image),
        runtime: choices.runtime,
        mounts: choices.mounts,
        gpus: choices.gpus.then_some(Gpus::All),
        // One run needs one session.
        idle: 0,
        ..cellblock_docker::Options::default()
    };
    let executor = DockerExecutor::start(options, &steps).await?;
    Ok(Arc::new(executor))
}

async fn local(choices: Choices) -> cellblock_exec::Result<Arc<dyn Executor>> {
    let options = cellblock_local::Options {
        isolation: choices.isolation,
        venv: choices.venv,
        environment: choices.environment,
        ..cellblock_local::Options::default()
    };
    let executor = LocalExecutor::start(options).await?;
    Ok(Arc::new(executor))
}

/// What every executor found out about this machine.
pub async fn checks() -> Vec<Check> {
    let mut checks = Vec::new();
    for row in EXECUTORS {
        checks.extend((row.checks)().await);
    }
    checks
}

/// The executor of a name, started, or one that starts others when they are needed.
///
/// # Errors
/// When there is none of that name, when what was chosen does not go together, and those of its start.
pub async fn start(name: &str, choices: Choices) -> Result<Arc<dyn Executor>> {
    if name == AUTO {
        return Ok(Arc::new(auto(&choices)?));
    }
    let row = find(name)?;
    refuse_what_is_others(row, &choices)?;
    Ok((row.start)(choices, Steps::new()).await?)
}

/// The row of a name.
///
/// # Errors
/// When there is none.
pub fn find(name: &str) -> Result<&'static Row> {
    EXECUTORS.iter().find(|row| row.name == name).ok_or_else(|| {
        let names = EXECUTORS.iter().map(|row| row.name).collect::<Vec<_>>().join(", ");
        usage(
            format!("there is no executor `{name}` in this build"),
            format!("choose one of: {names}; `{AUTO}` takes the strictest that can run the block"),
        )
    })
}

/// Chooses among the executors that fit what the caller chose.
fn auto(choices: &Choices) -> Result<Auto> {
    let rows = EXECUTORS.iter().filter(|row| refuse_what_is_others(row, choices).is_ok());
    let rows = rows.filter(|row| choices.image.as_deref().is_none_or(|image| may_have(row, image)));
    let candidates = rows.map(|row| {
        let mut choices = choices.clone();
        // For the local executor it is a level to have, not the weakest to take.
        choices.isolation = choices.isolation.filter(|level| *level == Isolation::Namespaces);
        let start = move || (row.start)(choices.clone(), Steps::new());
        Candidate::new(row.name, row.isolation, row.languages(), start)
    });
    Ok(Auto::new(candidates.collect())?)
}

/// Whether an image of this name can be the executor's: Docker's names have a `/` or a `:`, but for its default one.
fn may_have(row: &Row, image: &str) -> bool {
    match row.name {
        "docker" => is_docker_image(image),
        "wasi" => !is_docker_image(image),
        _ => false,
    }
}

/// Whether a name is that of an image of Docker's.
pub fn is_docker_image(name: &str) -> bool {
    name == cellblock_docker::DEFAULT_IMAGE || name.contains(['/', ':'])
}

/// Refuses a choice that another executor would have to keep to.
fn refuse_what_is_others(row: &Row, choices: &Choices) -> Result<()> {
    let refuse = |option: &str, whose: &str| {
        let name = row.name;
        Err(Error::Unsupported(format!(
            "{option} is for the {whose} executor, and this is the {name} one"
        ))
        .into())
    };
    let docker = !choices.mounts.is_empty() || choices.gpus || choices.runtime.is_some();
    let local = choices.venv.is_some() || choices.environment.is_some();
    match row.name {
        name if docker && name != "docker" => refuse("--mount, --gpus or --runtime", "docker"),
        name if local && name != "local" => refuse("--venv or --environment", "local"),
        name if choices.fuel.is_some() && name != "wasi" => refuse("--fuel", "wasi"),
        _ => match choices.isolation {
            Some(level) if level < row.isolation => {
                let why = format!(
                    "{level} isolation: the {} executor gives {} at most",
                    row.name, row.isolation
                );
                Err(Error::Unsupported(why).into())
            }
            _ => Ok(()),
        },
    }
}

impl Row {
    /// Languages that it may run.
    pub fn languages(&self) -> Vec<Language> {
        let others =
            INTERPRETERS.iter().map(|interpreter| Language::from_static(interpreter.language));
        std::iter::once(Language::PYTHON).chain(others.filter(|_| self.many_languages)).collect()
    }
}

/// The executors other than `name`, with the languages that they may run.
pub fn others(name: &str) -> Vec<(String, Vec<Language>)> {
    let others = EXECUTORS.iter().filter(|row| name != AUTO && row.name != name);
    others.map(|row| (row.name.to_owned(), row.languages())).collect()
}

impl cellblock_exec::Progress for Steps {
    fn step(&self, step: &str) {
        Steps::step(self, step);
    }
    fn advance(&self, done: u64, total: u64) {
        Steps::advance(self, done, total);
    }
    fn finish(&self) {
        Steps::finish(self);
    }
}
