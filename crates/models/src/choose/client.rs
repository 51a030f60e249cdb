//! Clients for configurations.

use std::{
    env,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use cellblock_agents::{ModelClient, ModelError};
use cellblock_exec::{Progress, with_causes};
use secrecy::SecretString;
use tokio::sync::OnceCell;

use super::{
    config::{CacheChoice, ModelConfig},
    late::Late,
    name::{ModelName, default_among},
    providers::{Kind, Provider},
};
use crate::{
    Anthropic, CacheStore, Cached, Connection, Fallback, KeyPlace, Local, LocalModel, LocalOptions, Ollama, OpenAi,
    Price, Transport, lock::locked,
};

/// Azure's version of the API if nobody names one.
const AZURE_API_VERSION: &str = "2024-10-21";

/// What clients need of the process that they are made in.
pub(super) struct Surroundings {
    variable: fn(&str) -> Option<String>,
}

impl Surroundings {
    pub(super) fn of_process() -> Self {
        Self { variable: |name| env::var(name).ok() }
    }

    /// What an environment variable holds, if that is not nothing.
    fn get(&self, name: &str) -> Option<String> {
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
    for (at, model) in models.iter().enumerate() {
        let turn = match (at, models.len()) {
            (0, 1) => Turn::Only,
            (0, _) => Turn::First,
            _ => Turn::Later,
        };
        clients.push(one(model, directory, around, progress, turn).await?);
    }
    match <[_; 1]>::try_from(clients) {
        Ok([client]) => Ok(client),
        Err(clients) => Ok(Arc::new(Fallback(clients))),
    }
}

/// When a model is asked. In a list, a key that is missing is found out when the model's turn comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Only,
    First,
    Later,
}

/// A model, those to fall back to, and those of these.
fn flat(config: &ModelConfig) -> Vec<&ModelConfig> {
    std::iter::once(config).chain(config.fallback.iter().flat_map(flat)).collect()
}

/// The client for one model.
async fn one(
    config: &ModelConfig,
    directory: Option<&Path>,
    around: &Surroundings,
    progress: &dyn Progress,
    turn: Turn,
) -> Result<Arc<dyn ModelClient>, ModelError> {
    let name = config.model.clone().unwrap_or_else(|| default_among(&|variable| around.get(variable)));
    let (client, scope): (Arc<dyn ModelClient>, String) = match name.parse()? {
        ModelName::Local(model) => {
            let scope = format!("local {model:?}");
            (local(config, model, directory, progress, turn).await?, scope)
        }
        ModelName::Server { base_url, model } => {
            refuse(&name, &[("base_url", config.base_url.is_some()), ("api_version", config.api_version.is_some())])?;
            refuse_local(&name, config)?;
            let key = config.key_env.as_deref();
            let client = OpenAi {
                key: key.and_then(|variable| around.get(variable)).map(SecretString::from),
                key_variable: key.map(str::to_owned),
                provider: "openai".to_owned(),
                ..openai(config, &base_url, model)
            };
            needs(turn, "the server", client.key.as_ref(), client.key_variable.as_deref())?;
            (Arc::new(client), base_url)
        }
        ModelName::Provided { provider, model } => {
            refuse(&name, &[("api_version", config.api_version.is_some() && provider.kind != Kind::Azure)])?;
            refuse_local(&name, config)?;
            provided(config, provider, model, around, turn)?
        }
    };
    Ok(match config.cache {
        CacheChoice::Off => client,
        CacheChoice::Namespace(namespace) => match store(directory) {
            Some(store) => Arc::new(Cached { namespace, scope, ..Cached::new(client, store) }),
            None => client,
        },
    })
}

/// The client for a provider's model, and where it is if that is not its provider's usual place.
fn provided(
    config: &ModelConfig,
    provider: &Provider,
    model: String,
    around: &Surroundings,
    turn: Turn,
) -> Result<(Arc<dyn ModelClient>, String), ModelError> {
    // What the user says of the address in the environment is as good as the table; what a file says is not a reason to
    // send a key there.
    let known =
        provider.address_variable.and_then(|variable| around.get(variable)).map(|address| with_scheme(&address));
    let usual = known.unwrap_or_else(|| provider.base_url.to_owned());
    let base_url = config.base_url.clone().unwrap_or_else(|| usual.clone());
    if base_url.is_empty() {
        let variable = provider.address_variable.unwrap_or("base_url");
        let what = format!("{} has no address: set the environment variable {variable}, or base_url", provider.name);
        return Err(ModelError::Start { what, source: None });
    }
    let is_usual = base_url.trim_end_matches('/') == usual.trim_end_matches('/');
    let variable = match &config.key_env {
        Some(variable) => Some(variable.clone()),
        None => provider.key_variable.filter(|_| is_usual).map(str::to_owned),
    };
    let key = variable.as_deref().and_then(|variable| around.get(variable)).map(SecretString::from);
    needs(turn, provider.provider, key.as_ref(), variable.as_deref())?;
    let scope = if base_url == provider.base_url { String::new() } else { base_url.clone() };
    let client: Arc<dyn ModelClient> = match provider.kind {
        Kind::OpenAi | Kind::Azure => {
            let azure = provider.kind == Kind::Azure;
            let base_url = match azure {
                true => format!("{}/openai/deployments/{model}", base_url.trim_end_matches('/')),
                false => base_url,
            };
            let version = config.api_version.clone().unwrap_or_else(|| AZURE_API_VERSION.to_owned());
            Arc::new(OpenAi {
                provider: provider.provider.to_owned(),
                key,
                key_variable: variable,
                key_place: if azure { KeyPlace::ApiKey } else { KeyPlace::Bearer },
                query: if azure { vec![("api-version".to_owned(), version)] } else { Vec::new() },
                ..openai(config, &base_url, model)
            })
        }
        Kind::Anthropic => {
            let usual = Anthropic::new(model);
            Arc::new(Anthropic {
                provider: provider.provider.to_owned(),
                base_url,
                key,
                key_variable: variable,
                sees_images: config.sees_images.unwrap_or(usual.sees_images),
                price: config.price,
                stream: config.stream.unwrap_or(usual.stream),
                parameters: config.parameters.clone(),
                connection: connection(config),
                ..usual
            })
        }
        Kind::Ollama => {
            let usual = Ollama::new(model);
            Arc::new(Ollama {
                provider: provider.provider.to_owned(),
                base_url,
                key,
                sees_images: config.sees_images.unwrap_or(usual.sees_images),
                price: config.price.unwrap_or(Price::FREE),
                stream: config.stream.unwrap_or(usual.stream),
                parameters: config.parameters.clone(),
                connection: connection(config),
                ..usual
            })
        }
    };
    Ok((client, scope))
}

/// A client without a key.
fn openai(config: &ModelConfig, base_url: &str, model: String) -> OpenAi {
    let usual = OpenAi::new(base_url, model);
    OpenAi {
        sees_images: config.sees_images.unwrap_or(usual.sees_images),
        price: config.price,
        stream: config.stream.unwrap_or(usual.stream),
        parameters: config.parameters.clone(),
        connection: connection(config),
        ..usual
    }
}

async fn local(
    config: &ModelConfig,
    model: LocalModel,
    directory: Option<&Path>,
    progress: &dyn Progress,
    turn: Turn,
) -> Result<Arc<dyn ModelClient>, ModelError> {
    refuse(
        "a local model",
        &[
            ("base_url", config.base_url.is_some()),
            ("key_env", config.key_env.is_some()),
            ("api_version", config.api_version.is_some()),
            ("price", config.price.is_some()),
            ("sees_images", config.sees_images == Some(true)),
        ],
    )?;
    let usual = LocalOptions::default();
    let options = LocalOptions {
        model,
        context: config.context.unwrap_or(usual.context),
        threads: config.threads,
        cache: directory.map(Path::to_owned),
        ..usual
    };
    let (transport, stream) = (transport(config, Local::transport()), config.stream.unwrap_or(true));
    if turn == Turn::Later {
        let (name, parameters) = (Local::name_of(&options.model), config.parameters.clone());
        return Ok(Arc::new(Late { name, options, parameters, transport, stream, started: OnceCell::new() }));
    }
    Ok(Arc::new(Local::start(&options, progress).await?.using(&config.parameters, transport, stream)))
}

/// Refuses what was set and does not apply.
fn refuse(to: &str, set: &[(&str, bool)]) -> Result<(), ModelError> {
    match set.iter().find(|(_, set)| *set) {
        None => Ok(()),
        Some((field, _)) => {
            Err(ModelError::Start { what: format!("`{field}` does not apply to {to}: leave it out"), source: None })
        }
    }
}

fn refuse_local(name: &str, config: &ModelConfig) -> Result<(), ModelError> {
    refuse(name, &[("context", config.context.is_some()), ("threads", config.threads.is_some())])
}

fn needs(turn: Turn, provider: &str, key: Option<&SecretString>, variable: Option<&str>) -> Result<(), ModelError> {
    match variable {
        Some(variable) if turn == Turn::Only && key.is_none() => {
            Err(ModelError::NoKey { provider: provider.to_owned(), variable: variable.to_owned() })
        }
        _ => Ok(()),
    }
}

fn connection(config: &ModelConfig) -> Connection {
    Connection::new(transport(config, Transport::default()))
}

fn transport(config: &ModelConfig, usual: Transport) -> Transport {
    Transport {
        timeout: config.timeout.map_or(usual.timeout, |seconds| seconds.0),
        retries: config.retries.unwrap_or(usual.retries),
        requests_per_minute: config.requests_per_minute,
        ..usual
    }
}

/// An address as Ollama's variable may have it: without the scheme.
fn with_scheme(address: &str) -> String {
    let address = address.trim();
    if address.contains("://") { address.to_owned() } else { format!("http://{address}") }
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
