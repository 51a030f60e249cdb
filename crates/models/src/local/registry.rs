//! The servers of this process: one for each model and its options.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Weak},
};

use cellblock_agents::ModelError;
use cellblock_cache::{HeldObject, Objects, user_directory};
use cellblock_exec::Progress;
use cellblock_packages::Interpreter;
use tokio::sync::Mutex;

use super::{
    options::{LocalModel, LocalOptions, fingerprint},
    packages, python,
    server::Server,
};

/// The running servers. The lock is held while one starts, so that no two start with the same key.
static RUNNING: Mutex<Option<HashMap<ServerKey, Weak<Server>>>> = Mutex::const_new(None);

/// The options of a server, and the fingerprint of the weights that it loaded.
type ServerKey = (LocalOptions, String);

/// Returns a server for resolved options: a running one, or a new one.
pub async fn get(
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

/// The parts that a server needs. They stay in the cache while this value lives.
pub struct Installed {
    interpreter: Interpreter,
    modules: HeldObject,
    model: PathBuf,
    weights: Option<HeldObject>,
}

/// Installs the missing parts.
pub async fn install(
    options: &LocalOptions,
    progress: &dyn Progress,
) -> Result<Installed, ModelError> {
    let failed = |source: cellblock_exec::Error| ModelError::Start {
        what: "cannot install the local model".to_owned(),
        source: Some(source.into()),
    };
    let root = options.cache.clone().map_or_else(user_directory, Ok).map_err(failed)?;
    let objects = Objects::open(root).map_err(failed)?;
    let interpreter = python::find(&objects, options.python.as_deref()).await?;
    let modules = packages::install(&objects, &packages::SERVER, &interpreter, progress)
        .await
        .map_err(failed)?;
    let (model, weights) = match &options.model {
        LocalModel::File(path) => (path.clone(), None),
        LocalModel::Default => {
            let held = packages::install(&objects, &packages::MODEL, &interpreter, progress)
                .await
                .map_err(failed)?;
            (held.directory.join(packages::MODEL_FILE), Some(held))
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
