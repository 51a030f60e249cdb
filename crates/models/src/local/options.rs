//! The options of a local model, checked before anything starts.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    num::NonZeroU32,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use cellblock_agents::ModelError;
use cellblock_cache::user_directory;

use super::packages;

/// The minimum of tokens that a conversation needs.
const MIN_CONTEXT: u32 = 256;

/// The options of a local model.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LocalOptions {
    /// The model. Default: a small one that is installed on first use.
    pub model: LocalModel,
    /// The maximum of tokens in a conversation, the answer included. More need more memory.
    /// Default: 4096.
    pub context: u32,
    /// The number of threads that compute. Default: half of the machine's. If the machine has other
    /// work, more threads wait for each other and can be slower than one.
    pub threads: Option<NonZeroU32>,
    /// The directory that packages are installed into. Default: the user's cache directory.
    pub cache: Option<PathBuf>,
    /// The Python that runs the server, 3.10 or newer. Default: `python3` of `PATH`, or else of
    /// `/usr/bin`.
    pub python: Option<PathBuf>,
    /// The maximum time of the start, without the installation. Default: 2 minutes.
    pub start_timeout: Duration,
}

/// A model that runs on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LocalModel {
    /// SmolLM2-135M-Instruct.
    Default,
    /// A GGUF file.
    File(PathBuf),
}

impl LocalModel {
    /// Returns the name of the model: that of its file, without a quantization after a dot.
    pub fn name(&self) -> String {
        let file = match self {
            LocalModel::Default => Path::new(packages::MODEL_FILE),
            LocalModel::File(path) => path,
        };
        let stem = file.file_stem().unwrap_or_default().to_string_lossy();
        match stem.split_once(".Q") {
            Some((name, _)) if !name.is_empty() => name.to_owned(),
            _ => stem.into_owned(),
        }
    }
}

impl Default for LocalOptions {
    fn default() -> Self {
        Self {
            model: LocalModel::Default,
            context: 4096,
            threads: None,
            cache: None,
            python: None,
            start_timeout: Duration::from_secs(120),
        }
    }
}

/// Checks options, and replaces their paths by absolute ones.
pub fn resolve(options: &LocalOptions) -> Result<LocalOptions, ModelError> {
    let mut options = options.clone();
    if options.context < MIN_CONTEXT {
        let what = format!(
            "a context of `{}` tokens is too small for a conversation; use {MIN_CONTEXT} or more",
            options.context
        );
        return Err(ModelError::Start { what, source: None });
    }
    if let LocalModel::File(path) = &mut options.model {
        *path = resolve_model_file(path)?;
    }
    if options.cache.is_none() {
        options.cache = Some(user_directory().map_err(|source| ModelError::Start {
            what: "there is no directory for the local model".to_owned(),
            source: Some(source.into()),
        })?);
    }
    Ok(options)
}

/// Returns the absolute path of a model file. llama.cpp would refuse another file later, with a
/// less helpful error.
fn resolve_model_file(path: &Path) -> Result<PathBuf, ModelError> {
    let shown = path.display();
    let cannot_read = |error: io::Error| ModelError::Start {
        what: format!("cannot read the model file `{shown}`"),
        source: Some(error.into()),
    };
    let path = path.canonicalize().map_err(cannot_read)?;
    let mut start = [0; 4];
    let read = File::open(&path).and_then(|mut file| file.read_exact(&mut start));
    match read {
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => Err(cannot_read(error)),
        Ok(()) if start == *b"GGUF" => Ok(path),
        _ => {
            let what = format!(
                "`{shown}` is not a model in the GGUF format, the only one that llama.cpp reads"
            );
            Err(ModelError::Start { what, source: None })
        }
    }
}

/// Returns a text that identifies the weights of a model without reading them: the version of the
/// default model, or the path, size and modification time of a file. It does not depend on the
/// working directory.
pub fn fingerprint(model: &LocalModel) -> String {
    let path = match model {
        LocalModel::Default => return packages::MODEL.identity(),
        LocalModel::File(path) => path,
    };
    let nanos = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let found = path.canonicalize().and_then(|path| Ok((fs::metadata(&path)?, path)));
    match found {
        Ok((metadata, path)) => {
            let modified = metadata.modified().map_or(0, nanos);
            format!("{} {} {modified}", path.display(), metadata.len())
        }
        // The file may appear later with unknown content, so this fingerprint is unique.
        Err(_) => format!("{} missing at {}", path.display(), nanos(SystemTime::now())),
    }
}

#[cfg(test)]
mod tests;
