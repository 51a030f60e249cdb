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
        Ok(Self { usual: args.model.clone(), cache, replay, record: args.record.clone(), recording: None })
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
        let Some(path) = &self.record else { return Ok(inner) };
        let file = match &self.recording {
            Some(file) => file.clone(),
            None => Arc::new(RecordingFile::open(path, inner.sees_images())?),
        };
        self.recording = Some(file.clone());
        Ok(Arc::new(Recording { inner, file }))
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
        Err(error) => {
            Err(usage(error.to_string(), "docs/chat.md lists the names; `cellblock doctor` shows which keys are set"))
        }
    }
}

fn replay(path: &Path) -> Result<Arc<Replay>> {
    let hint = "--replay takes a recording, which --record makes";
    // Found out before anything else, and as every other file that is not there.
    File::open(path).map_err(|error| usage(format!("cannot open {}: {error}", path.display()), hint))?;
    match Replay::read(path) {
        Ok(replay) => Ok(Arc::new(replay)),
        Err(error) => Err(usage(cellblock_exec::with_causes(&error), hint)),
    }
}
