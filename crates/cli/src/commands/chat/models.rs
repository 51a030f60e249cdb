//! The models of a chat: asked, replayed or recorded.

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Result;
use cellblock_agents::{ModelClient, ModelError};
use cellblock_models::{
    Recording, RecordingFile, Replay,
    choose::{CacheChoice, ModelConfig, ModelName, default_name},
};

use super::args::ModelArgs;
use crate::{failure::usage, render::progress::Steps};

/// Where the models of a chat come from.
pub struct Models {
    /// The model to use where none is named.
    usual: Option<String>,
    cache: Option<CacheChoice>,
    replay: Option<Arc<Replay>>,
    record: Option<PathBuf>,
    recording: Option<Arc<RecordingFile>>,
    /// Those that are asked.
    asked: Vec<ModelConfig>,
}

impl Models {
    /// Models by the options. A recording is read; nothing else is started.
    ///
    /// # Errors
    /// When the recording cannot be read, or the name of a model makes no sense.
    pub fn new(args: &ModelArgs) -> Result<Self> {
        let replay = args.replay.as_deref().map(replay).transpose()?;
        if let Some(name) = &args.model {
            check(name)?;
        }
        let cache = match (args.no_cache, args.cache_seed) {
            (true, _) => Some(CacheChoice::Off),
            (false, seed) => seed.map(CacheChoice::Namespace),
        };
        let (usual, record) = (args.model.clone(), args.record.clone());
        Ok(Self { usual, cache, replay, record, recording: None, asked: Vec::new() })
    }

    /// The model to use where none is named.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn usual(&mut self) -> Result<Arc<dyn ModelClient>> {
        let name = self.usual.clone().unwrap_or_else(default_name);
        self.get(&ModelConfig::named(name)).await
    }

    /// A model by its description.
    ///
    /// # Errors
    /// When its key is missing, it cannot be started, or it cannot be recorded.
    pub async fn get(&mut self, config: &ModelConfig) -> Result<Arc<dyn ModelClient>> {
        if let Some(replay) = &self.replay {
            return Ok(replay.clone());
        }
        let config = ModelConfig { cache: self.cache.unwrap_or(config.cache), ..config.clone() };
        let inner = config.client(&Steps::new()).await?;
        self.asked.push(config);
        let Some(path) = &self.record else { return Ok(inner) };
        let file = match &self.recording {
            Some(file) => file.clone(),
            None => Arc::new(record(path, inner.sees_images())?),
        };
        self.recording = Some(file.clone());
        Ok(Arc::new(Recording { inner, file }))
    }

    /// What is to be said about models that no limit on money stops, for their price is not known.
    ///
    /// # Errors
    /// When a table of prices cannot be read.
    pub fn unpriced(&self) -> Result<Vec<String>> {
        let mut names: Vec<String> = Vec::new();
        for config in &self.asked {
            names.extend(config.unpriced()?);
        }
        names.sort();
        names.dedup();
        let note = |name: String| {
            format!(
                "the price of the model `{name}` is not known: its calls count as $0, and the budget does not stop them. Say what \
                 it costs with `price` or `prices` in --config, or in a file that CELLBLOCK_PRICES names (see docs/chat.md)"
            )
        };
        Ok(names.into_iter().map(note).collect())
    }

    /// Makes sure that the recording is whole.
    ///
    /// # Errors
    /// When it is not.
    pub fn finish(&self) -> Result<(), ModelError> {
        self.recording.as_ref().map_or(Ok(()), |recording| recording.finish())
    }
}

/// Whether a name can be one of a model.
///
/// # Errors
/// When it cannot, with what to write.
pub fn check(name: &str) -> Result<()> {
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
        let hint = "--record takes the name of a new file in a directory that is there, or of a recording that it made";
        usage(cellblock_exec::with_causes(&error), hint)
    })
}

fn replay(path: &Path) -> Result<Arc<Replay>> {
    let hint = "--replay takes a recording, which --record makes";
    // Found out before anything else, and as every other file that is not there.
    File::open(path)
        .map_err(|error| usage(format!("cannot open {}: {error}", path.display()), hint))?;
    match Replay::read(path) {
        Ok(replay) => Ok(Arc::new(replay)),
        Err(error) => Err(usage(cellblock_exec::with_causes(&error), hint)),
    }
}
