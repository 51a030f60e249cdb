//! The servers that run in this process.

use std::{
    collections::HashMap,
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
    sync::{Arc, Weak},
};

use cellblock_agents::ModelError;
use cellblock_cache::{HeldObject, Objects, user_directory};
use cellblock_exec::Progress;
use cellblock_packages::Interpreter;
use tokio::sync::Mutex;

use super::{LocalModel, LocalOptions, parts, python, server::Server, weights::fingerprint};

/// By what they were started with. Held while one starts, so that no two start the same.
static RUNNING: Mutex<Option<HashMap<StartedWith, Weak<Server>>>> = Mutex::const_new(None);

/// The options, and the fingerprint of the weights that were there then.
type StartedWith = (LocalOptions, String);

/// The options with the paths that they mean now, if they can be used.
pub(super) fn settled(options: &LocalOptions) -> Result<LocalOptions, ModelError> {
    let mut options = options.clone();
    if options.context < 256 {
        let what = format!(
            "a context of {} tokens is too small for a conversation; give 256 or more",
            options.context
        );
        return Err(ModelError::Start { what, source: None });
    }
    if let LocalModel::File(path) = &mut options.model {
        *path = checked(path)?;
    }
    if options.cache.is_none() {
        options.cache = Some(
            user_directory()
                .map_err(|source| failed("there is no place for the local model", source))?,
        );
    }
    Ok(options)
}

/// The path of a model file that seems to be one. Python would say it later, and not as well.
fn checked(path: &Path) -> Result<PathBuf, ModelError> {
    let shown = path.display();
    let cannot = |error: std::io::Error| ModelError::Start {
        what: format!("cannot read the model file {shown}"),
        source: Some(error.into()),
    };
    let path = path.canonicalize().map_err(cannot)?;
    let mut start = [0; 4];
    let read = File::open(&path).and_then(|mut file| file.read_exact(&mut start));
    match read {
        Err(error) if error.kind() != std::io::ErrorKind::UnexpectedEof => Err(cannot(error)),
        Ok(()) if start == *b"GGUF" => Ok(path),
        _ => {
            let what = format!(
                "{shown} is no model in the GGUF format, which is the one that llama.cpp reads"
            );
            Err(ModelError::Start { what, source: None })
        }
    }
}

/// A server for settled options: the one that runs, or a new one.
pub(super) async fn get(
    options: &LocalOptions,
    progress: &dyn Progress,
) -> Result<Arc<Server>, ModelError> {
    let key = (options.clone(), fingerprint(&options.model));
    let mut running = RUNNING.lock().await;
    let running = running.get_or_insert_default();
    running.retain(|_, server| server.strong_count() > 0);
    if let Some(server) =
        running.get(&key).and_then(Weak::upgrade).filter(|server| server.is_alive())
    {
        return Ok(server);
    }
    let server = Arc::new(start(options, progress).await?);
    running.insert(key, Arc::downgrade(&server));
    Ok(server)
}

/// What a server needs, kept in the cache while this is.
pub(super) struct Installed {
    interpreter: Interpreter,
    modules: HeldObject,
    model: PathBuf,
    weights: Option<HeldObject>,
}

/// Installs what is not there.
pub(super) async fn install(
    options: &LocalOptions,
    progress: &dyn Progress,
) -> Result<Installed, ModelError> {
    let cannot_install = |source| failed("cannot install the local model", source);
    let root = options.cache.clone().map_or_else(user_directory, Ok).map_err(cannot_install)?;
    let objects = Objects::open(root).map_err(cannot_install)?;
    let interpreter = python::find(&objects, options.python.as_deref()).await?;
    let modules = parts::install(&objects, &parts::SERVER, &interpreter, progress)
        .await
        .map_err(cannot_install)?;
    let (model, weights) = match &options.model {
        LocalModel::File(path) => (path.clone(), None),
        LocalModel::Default => {
            let held = parts::install(&objects, &parts::MODEL, &interpreter, progress)
                .await
                .map_err(cannot_install)?;
            (held.directory.join(parts::MODEL_FILE), Some(held))
        }
    };
    Ok(Installed { interpreter, modules, model, weights })
}

async fn start(options: &LocalOptions, progress: &dyn Progress) -> Result<Server, ModelError> {
    let Installed { interpreter, modules, model, weights } = install(options, progress).await?;
    progress.step("starting the local model");
    let server = Server::start(options, &interpreter, modules, model, weights).await?;
    progress.finish();
    Ok(server)
}

fn failed(what: &str, source: cellblock_exec::Error) -> ModelError {
    ModelError::Start { what: what.to_owned(), source: Some(source.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_no_models_are_refused_before_anything_starts() {
        let directory = tempfile::tempdir().unwrap();
        let with = |path: PathBuf| {
            settled(&LocalOptions { model: LocalModel::File(path), ..LocalOptions::default() })
        };
        let write = |name: &str, content: &[u8]| {
            let path = directory.path().join(name);
            std::fs::write(&path, content).unwrap();
            path
        };
        for (path, why) in [
            (directory.path().join("missing.gguf"), "cannot read the model file"),
            (directory.path().to_owned(), "cannot read the model file"),
            (write("empty.gguf", b""), "no model in the GGUF format"),
            (write("model.safetensors", b"\x40\0\0\0\0\0\0\0{}"), "no model in the GGUF format"),
        ] {
            let error = with(path).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        let good = write("model.gguf", b"GGUF and more");
        assert!(with(good).is_ok());
        assert!(settled(&LocalOptions { context: 0, ..LocalOptions::default() }).is_err());
    }
}
