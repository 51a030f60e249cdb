//! Clients for configurations.

use std::{
    env,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use cellblock_agents::{ModelClient, ModelError};
use cellblock_exec::{Progress, with_causes};

use super::{
    config::{CacheChoice, ModelConfig},
    entry::{Entry, Turn},
    name::default_among,
    prices::table,
};
use crate::{CacheStore, Cacheable, Cached, Fallback, lock::locked};

/// What clients need of the process that they are made in.
pub(super) struct Surroundings {
    pub(super) variable: Variables,
}

/// Gives the value of an environment variable.
pub(super) type Variables = Box<dyn Fn(&str) -> Option<String> + Send + Sync>;

impl Surroundings {
    pub(super) fn of_process() -> Self {
        Self { variable: Box::new(|name| env::var(name).ok()) }
    }

    /// What an environment variable holds, if that is not nothing.
    pub(super) fn get(&self, name: &str) -> Option<String> {
        (self.variable)(name).filter(|value| !value.trim().is_empty())
    }
}

/// The client for a configuration, its models to fall back to included.
pub(super) async fn client(
    config: &ModelConfig,
    around: &Surroundings,
    progress: &dyn Progress,
) -> Result<Arc<dyn ModelClient>, ModelError> {
    let mut clients = Vec::new();
    let (models, directory) = (flat(config), config.cache_directory.as_deref());
    for (at, (model, prices)) in models.iter().enumerate() {
        let turn = match (at, models.len()) {
            (0, 1) => Turn::Only,
            (0, _) => Turn::First,
            _ => Turn::Later,
        };
        let entry =
            Entry { config: model, prices: table(*prices, around)?, directory, around, turn };
        clients.push(kept(&entry, entry.client(progress).await?));
    }
    match <[_; 1]>::try_from(clients) {
        Ok([client]) => Ok(client),
        Err(clients) => Ok(Arc::new(Fallback(clients))),
    }
}

/// A client whose answers are kept, unless they are not to be, or cannot.
fn kept(entry: &Entry<'_>, client: Arc<dyn Cacheable>) -> Arc<dyn ModelClient> {
    match entry.config.cache {
        CacheChoice::Off => client,
        CacheChoice::Namespace(namespace) => match store(entry.directory) {
            Some(store) => Arc::new(Cached { namespace, ..Cached::new(client, store) }),
            None => client,
        },
    }
}

/// A model, those to fall back to, and those of these; each with the file of prices that holds for it.
pub(super) fn flat(config: &ModelConfig) -> Vec<(&ModelConfig, Option<&Path>)> {
    fn below<'c>(
        config: &'c ModelConfig,
        above: Option<&'c Path>,
        all: &mut Vec<(&'c ModelConfig, Option<&'c Path>)>,
    ) {
        let prices = config.prices.as_deref().or(above);
        all.push((config, prices));
        config.fallback.iter().for_each(|config| below(config, prices, all));
    }
    let mut all = Vec::new();
    below(config, None, &mut all);
    all
}

/// The model that a configuration means.
pub(super) fn name_of(config: &ModelConfig, around: &Surroundings) -> String {
    config.model.clone().unwrap_or_else(|| default_among(&|variable| around.get(variable)))
}

/// The cache of answers, opened once for each place. `None`, and a warning, when it cannot be used.
fn store(directory: Option<&Path>) -> Option<Arc<CacheStore>> {
    type Opened = Vec<(Option<PathBuf>, Option<Arc<CacheStore>>)>;
    static OPENED: Mutex<Opened> = Mutex::new(Vec::new());
    let mut opened = locked(&OPENED);
    if let Some((_, store)) = opened.iter().find(|(place, _)| place.as_deref() == directory) {
        return store.clone();
    }
    let store = match directory {
        Some(directory) => CacheStore::open(&directory.join(CacheStore::FILE)),
        None => CacheStore::of_user(),
    };
    let store = match store {
        Ok(store) => Some(Arc::new(store)),
        Err(error) => {
            tracing::warn!(error = with_causes(&error), "answers are not kept");
            None
        }
    };
    opened.push((directory.map(Path::to_owned), store.clone()));
    store
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
