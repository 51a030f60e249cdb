//! The executors of this build: a row each. The only place that knows them.

use std::{future::Future, pin::Pin, sync::Arc};

use anyhow::Result;
use cellblock_exec::{Executor, Isolation, Language};
use cellblock_wasi::{Check, Options, WasiExecutor};
pub use cellblock_wasi::{ImageInfo, ImageState, ImageStore};

use crate::{failure::usage, render::progress::Steps};

/// An executor that this build has.
pub struct Row {
    /// Its name, as `--executor` takes it.
    pub name: &'static str,
    /// What it puts between program and host.
    pub isolation: Isolation,
    /// Languages that it can run.
    pub languages: &'static [Language],
    /// Starts it.
    start: fn(choices: Choices, steps: Steps) -> Starting,
}

/// What the caller chose for an executor's start.
#[derive(Debug, Clone, Default)]
pub struct Choices {
    /// The image; `None` is the executor's default one.
    pub image: Option<String>,
    /// Instructions that a block may use, counted one by one.
    pub fuel: Option<u64>,
}

type Starting = Pin<Box<dyn Future<Output = Result<Arc<dyn Executor>>> + Send>>;

/// All executors, strongest isolation first: `auto` takes the first.
pub const EXECUTORS: &[Row] = &[Row {
    name: "wasi",
    isolation: Isolation::Wasm,
    languages: &[Language::PYTHON],
    start: |choices, steps| Box::pin(wasi(choices, steps)),
}];

async fn wasi(Choices { image, fuel }: Choices, steps: Steps) -> Result<Arc<dyn Executor>> {
    let defaults = Options::default();
    let options = Options { image: image.unwrap_or(defaults.image), fuel, ..Options::default() };
    let executor = WasiExecutor::start(images()?, options, &steps).await?;
    Ok(Arc::new(executor))
}

/// The user's images.
pub fn images() -> Result<ImageStore> {
    Ok(ImageStore::in_user_cache()?)
}

impl cellblock_wasi::Progress for Steps {
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

/// What every executor found out about this machine.
pub async fn checks() -> Vec<Check> {
    cellblock_wasi::checks().await
}

/// The row of a name.
pub fn find(name: &str) -> Result<&'static Row> {
    let row = if name == "auto" { EXECUTORS.first() } else { EXECUTORS.iter().find(|row| row.name == name) };
    row.ok_or_else(|| {
        let names = EXECUTORS.iter().map(|row| row.name).collect::<Vec<_>>().join(", ");
        usage(
            format!("there is no executor `{name}` in this build"),
            format!("choose one of: {names}; `auto` takes the strongest isolation"),
        )
    })
}

impl Row {
    /// Starts the executor.
    pub async fn start(&self, choices: Choices, steps: Steps) -> Result<Arc<dyn Executor>> {
        (self.start)(choices, steps).await
    }
}

/// The executors other than `name`, with their languages.
pub fn others(name: &str) -> Vec<(String, Vec<Language>)> {
    EXECUTORS.iter().filter(|row| row.name != name).map(|row| (row.name.into(), row.languages.to_vec())).collect()
}
