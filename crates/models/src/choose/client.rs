//! The client of a configuration, with its fallback models and its cache.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use cellblock_agents::{ModelClient, ModelError};
use cellblock_exec::{BoxFuture, Progress, with_causes};
use parking_lot::Mutex;

use super::{
    config::{CacheChoice, ModelConfig},
    entry::{ModelEntry, Position},
    environment::Environment,
    prices::price_table,
};
use crate::{
    cache::{CacheStore, Cacheable, Cached},
    fallback::Fallback,
};

impl ModelConfig {
    /// Creates the client.
    ///
    /// A local model is installed, if it is missing, and started. A local fallback model is also
    /// installed, so that `progress` shows it, but starts only when it is needed. If its
    /// installation fails, that is a warning, and it is tried again when the model is needed.
    ///
    /// # Errors
    /// [`ModelError::NoKey`] if a required key is not set, unless there is a fallback model;
    /// [`ModelError::Start`] for an invalid name or value, if a table of prices cannot be read, and
    /// if a local model does not start.
    pub fn client<'a>(
        &'a self,
        progress: &'a dyn Progress,
    ) -> BoxFuture<'a, Result<Arc<dyn ModelClient>, ModelError>> {
        Box::pin(async move { client(self, &Environment::of_process(), progress).await })
    }
}

/// Creates the client of a configuration in an environment.
pub async fn client(
    config: &ModelConfig,
    environment: &Environment,
    progress: &dyn Progress,
) -> Result<Arc<dyn ModelClient>, ModelError> {
    let mut clients = Vec::new();
    let (models, directory) = (config.with_fallbacks(), config.cache_directory.as_deref());
    for (at, (model, prices)) in models.iter().enumerate() {
        let position = match (at, models.len()) {
            (0, 1) => Position::Only,
            (0, _) => Position::First,
            _ => Position::Fallback,
        };
        let prices = price_table(*prices, environment)?;
        let entry = ModelEntry { config: model, prices, directory, environment, position };
        clients.push(with_cache(&entry, entry.client(progress).await?));
    }
    match <[_; 1]>::try_from(clients) {
        Ok([client]) => Ok(client),
        Err(clients) => Ok(Arc::new(Fallback(clients))),
    }
}

/// Adds the cache, unless it is off or cannot be used.
fn with_cache(entry: &ModelEntry<'_>, client: Arc<dyn Cacheable>) -> Arc<dyn ModelClient> {
    match entry.config.cache {
        CacheChoice::Off => client,
        CacheChoice::Namespace(namespace) => match open_store(entry.directory) {
            Some(store) => Arc::new(Cached { namespace, ..Cached::new(client, store) }),
            None => client,
        },
    }
}

/// Opens the cache of a directory once per process. Returns `None`, after a warning, if it cannot
/// be used.
fn open_store(directory: Option<&Path>) -> Option<Arc<CacheStore>> {
    type OpenStores = Vec<(Option<PathBuf>, Option<Arc<CacheStore>>)>;
    static OPEN: Mutex<OpenStores> = Mutex::new(Vec::new());
    let mut open = OPEN.lock();
    if let Some((_, store)) = open.iter().find(|(path, _)| path.as_deref() == directory) {
        return store.clone();
    }
    let store = match directory {
        Some(directory) => CacheStore::open(&directory.join(CacheStore::FILE)),
        None => CacheStore::of_user(),
    };
    let store = match store {
        Ok(store) => Some(Arc::new(store)),
        Err(error) => {
            tracing::warn!(error = with_causes(&error), "answers are not cached");
            None
        }
    };
    open.push((directory.map(Path::to_owned), store.clone()));
    store
}

#[cfg(test)]
mod tests;
