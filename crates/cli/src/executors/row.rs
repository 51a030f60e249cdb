//! The form of a row: all that the command has to know about an executor.

use std::path::PathBuf;

use anyhow::Result;
use async_trait::async_trait;
use cellblock_docker::HostMount;
use cellblock_driver::INTERPRETERS;
use cellblock_exec::{BoxFuture, Check, Error, Isolation, Language, Requirement, auto::Starting};

use crate::render::progress::ProgressDisplay;

/// An executor of this build.
pub struct Row {
    /// Name, as `--executor` takes it.
    pub name: &'static str,
    /// The strictest isolation that it can have.
    pub isolation: Isolation,
    /// Options that this executor has and others may not have.
    pub options: &'static [ExecutorOption],
    /// Returns the languages that it may run. Some need programs that a machine may lack.
    pub languages: fn() -> Vec<Language>,
    /// Starts it with options that it has.
    pub start: fn(choices: Choices, progress: ProgressDisplay) -> Starting,
    /// Returns what it finds out about this machine.
    pub checks: fn() -> BoxFuture<'static, Vec<Check>>,
    /// Its images, if sessions start from images.
    pub images: Option<&'static dyn Images>,
}

impl Row {
    /// Returns the first given option that the executor does not have.
    pub fn unknown_option(&self, choices: &Choices) -> Option<ExecutorOption> {
        let mut given = ExecutorOption::ALL.into_iter().filter(|option| option.is_given(choices));
        given.find(|option| !self.options.contains(option))
    }
}

/// Options of the command line that shape the start of an executor.
#[derive(Debug, Clone, Default)]
pub struct Choices {
    /// True if the caller named the executor; false if `auto` chooses it.
    pub is_named: bool,
    /// The image; `None` for the executor's default image.
    pub image: Option<String>,
    /// The weakest acceptable isolation.
    pub isolation: Option<Isolation>,
    /// Instructions that a block may execute.
    pub fuel: Option<u64>,
    /// The engine's runtime.
    pub runtime: Option<String>,
    /// Directories of the host that sessions see.
    pub mounts: Vec<HostMount>,
    /// True if sessions get all graphics processors.
    pub gpus: bool,
    /// A virtual environment of the user.
    pub venv: Option<PathBuf>,
    /// The name of a kept package set.
    pub environment: Option<String>,
}

/// An option that only some executors have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExecutorOption {
    Image,
    Fuel,
    Runtime,
    Mount,
    Gpus,
    Venv,
    Environment,
}

impl ExecutorOption {
    const ALL: [Self; 7] = [
        Self::Image,
        Self::Fuel,
        Self::Runtime,
        Self::Mount,
        Self::Gpus,
        Self::Venv,
        Self::Environment,
    ];

    /// Returns the option as it is written on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Image => "--image",
            Self::Fuel => "--fuel",
            Self::Runtime => "--runtime",
            Self::Mount => "--mount",
            Self::Gpus => "--gpus",
            Self::Venv => "--venv",
            Self::Environment => "--environment",
        }
    }

    fn is_given(self, choices: &Choices) -> bool {
        match self {
            Self::Image => choices.image.is_some(),
            Self::Fuel => choices.fuel.is_some(),
            Self::Runtime => choices.runtime.is_some(),
            Self::Mount => !choices.mounts.is_empty(),
            Self::Gpus => choices.gpus,
            Self::Venv => choices.venv.is_some(),
            Self::Environment => choices.environment.is_some(),
        }
    }
}

/// The images of an executor.
#[async_trait]
pub trait Images: Sync {
    /// True if an image of this executor can have the name.
    fn can_have(&self, name: &str) -> bool;

    /// Lists the images.
    ///
    /// # Errors
    /// If they cannot be read.
    async fn list(&self) -> Result<Vec<ImageEntry>>;

    /// Fetches an image and prepares it for sessions. Returns its description.
    ///
    /// # Errors
    /// If there is no such image, or it cannot be fetched.
    async fn pull(&self, name: &str, progress: &ProgressDisplay) -> Result<String>;

    /// Removes an image. Returns a description of what was removed.
    ///
    /// # Errors
    /// If there is no such image.
    async fn remove(&self, name: &str) -> Result<String>;

    /// Removes files that no image needs. Returns the number of bytes that it freed.
    ///
    /// # Errors
    /// If the files cannot be removed.
    fn prune(&self) -> Result<u64> {
        Ok(0)
    }

    /// Compares an image with its hashes.
    ///
    /// # Errors
    /// If there is no such image, or the executor has no hashes of it.
    fn verify(&self, name: &str) -> Result<ImageEntry> {
        Err(Error::Unsupported(format!("image `{name}` cannot be verified")).into())
    }

    /// Creates the image `name` from `base`, with `packages` imported. Returns its description.
    ///
    /// # Errors
    /// If the packages cannot be installed, or the executor cannot extend images.
    async fn extend(
        &self,
        base: &str,
        name: &str,
        packages: &[Requirement],
        progress: &ProgressDisplay,
    ) -> Result<String> {
        let _ = (name, packages, progress);
        Err(Error::Unsupported(format!("image `{base}` cannot be extended")).into())
    }
}

/// An image, as `cellblock image list` shows it.
pub struct ImageEntry {
    /// Name.
    pub name: String,
    /// True if the image is here and whole.
    pub is_ready: bool,
    /// State, description and packages for people, after the name.
    pub description: String,
    /// The object of `cellblock image list --json`.
    pub json: serde_json::Value,
}

/// Returns Python and the languages of programs that a cell can find: those of all executors with
/// cells.
pub fn languages_of_cells() -> Vec<Language> {
    let others = INTERPRETERS.iter().map(|interpreter| Language::from_static(interpreter.language));
    std::iter::once(Language::PYTHON).chain(others).collect()
}
