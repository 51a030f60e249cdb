//! The models of a chat: asked, recorded, or replayed.

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Result;
use cellblock_agents::{ModelClient, ModelError};
use cellblock_exec::with_causes;
use cellblock_models::{
    Recording, RecordingFile, Replay,
    choose::{CacheChoice, ModelConfig, ModelName, default_name},
};

use crate::{args::chat::ModelArgs, failure::usage, render::progress::ProgressDisplay};

/// The source of a chat's models.
pub struct Models {
    /// Name of the model of agents without one; `None` for the first provider with a key.
    default: Option<String>,
    cache: Option<CacheChoice>,
    replay: Option<Arc<Replay>>,
    record: Option<PathBuf>,
    /// The recording, open since the first model.
    recording: Option<Arc<RecordingFile>>,
    /// The models that are asked.
    asked: Vec<ModelConfig>,
}

impl Models {
    /// Returns models by the options. Reads the recording to replay; starts no model.
    ///
    /// # Errors
    /// If the recording cannot be read, or the name of the model is invalid.
    pub fn new(args: &ModelArgs) -> Result<Self> {
        let replay = args.replay.as_deref().map(replay).transpose()?;
        if let Some(name) = &args.model {
            check_name(name)?;
        }
        let cache = match (args.no_cache, args.cache_seed) {
            (true, _) => Some(CacheChoice::Off),
            (false, seed) => seed.map(CacheChoice::Namespace),
        };
        let (default, record) = (args.model.clone(), args.record.clone());
        Ok(Self { default, cache, replay, record, recording: None, asked: Vec::new() })
    }

    /// Returns the model of agents without one.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn default(&mut self) -> Result<Arc<dyn ModelClient>> {
        let name = self.default.clone().unwrap_or_else(default_name);
        self.get(&ModelConfig::named(name)).await
    }

    /// Returns a model by its description.
    ///
    /// # Errors
    /// If its key is missing, it cannot start, or it cannot be recorded.
    pub async fn get(&mut self, config: &ModelConfig) -> Result<Arc<dyn ModelClient>> {
        if let Some(replay) = &self.replay {
            return Ok(replay.clone());
        }
        let config = ModelConfig { cache: self.cache.unwrap_or(config.cache), ..config.clone() };
        let inner = config.client(&ProgressDisplay::default()).await?;
        self.asked.push(config);
        let Some(path) = &self.record else { return Ok(inner) };
        let file = match &self.recording {
            Some(file) => file.clone(),
            None => Arc::new(record(path, inner.sees_images())?),
        };
        self.recording = Some(file.clone());
        Ok(Arc::new(Recording { inner, file }))
    }

    /// Returns a note for each model without a known price, which no limit on cost stops.
    ///
    /// # Errors
    /// If a table of prices cannot be read.
    pub fn unpriced(&self) -> Result<Vec<String>> {
        let mut names: Vec<String> = Vec::new();
        for config in &self.asked {
            names.extend(config.unpriced()?);
        }
        names.sort();
        names.dedup();
        let note = |name: String| {
            format!(
                "the price of the model `{name}` is unknown: its requests count as $0, and the \
                 budget does not stop them; set `price` or `prices` in --config, or name a file of \
                 prices in CELLBLOCK_PRICES (see docs/chat.md)"
            )
        };
        Ok(names.into_iter().map(note).collect())
    }

    /// Completes the recording, if there is one.
    ///
    /// # Errors
    /// If the recording could not be written completely.
    pub fn finish(&self) -> Result<(), ModelError> {
        self.recording.as_ref().map_or(Ok(()), |recording| recording.finish())
    }
}

/// Checks that a name can be the name of a model.
///
/// # Errors
/// If it cannot.
pub fn check_name(name: &str) -> Result<()> {
    match name.parse::<ModelName>() {
        Ok(_) => Ok(()),
        Err(error) => Err(usage(
            error.to_string(),
            "docs/chat.md lists the names; `cellblock doctor` shows which keys are set",
        )),
    }
}

fn record(path: &Path, sees_images: bool) -> Result<RecordingFile> {
    RecordingFile::open(path, sees_images).map_err(|error| {
        usage(
            with_causes(&error),
            "give --record the name of a new file in an existing directory, or of a recording that \
             it made",
        )
    })
}

fn replay(path: &Path) -> Result<Arc<Replay>> {
    let hint = "give --replay a recording; --record makes one";
    // The message for a missing file is that of all other files.
    File::open(path)
        .map_err(|error| usage(format!("cannot open `{}`: {error}", path.display()), hint))?;
    match Replay::read(path) {
        Ok(replay) => Ok(Arc::new(replay)),
        Err(error) => Err(usage(with_causes(&error), hint)),
    }
}
