//! The client for one model of a configuration.

use std::{path::Path, sync::Arc};

use cellblock_agents::ModelError;
use cellblock_exec::Progress;
use secrecy::SecretString;
use tokio::sync::OnceCell;

use super::{
    address,
    client::{Surroundings, name_of},
    config::ModelConfig,
    late::Late,
    name::ModelName,
    providers::{Kind, Provider},
};
use crate::{
    Anthropic, Cacheable, Connection, KeyPlace, Local, LocalModel, LocalOptions, Ollama, OpenAi,
    Price, PriceTable, Transport,
};

/// Azure's version of the API if nobody names one.
const AZURE_API_VERSION: &str = "2024-10-21";

/// A model, and what it needs to be one.
pub(super) struct Entry<'c> {
    pub(super) config: &'c ModelConfig,
    /// The table that its price is looked up in; `None` for the embedded one.
    pub(super) prices: Option<Arc<PriceTable>>,
    /// The directory of local models; `None` for the user's.
    pub(super) directory: Option<&'c Path>,
    pub(super) around: &'c Surroundings,
    pub(super) turn: Turn,
}

/// When a model is asked. In a list, a key that is missing is found out when the model's turn comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    Only,
    First,
    Later,
}

impl Entry<'_> {
    pub(super) async fn client(
        &self,
        progress: &dyn Progress,
    ) -> Result<Arc<dyn Cacheable>, ModelError> {
        let (config, name) = (self.config, name_of(self.config, self.around));
        match name.parse()? {
            ModelName::Local(model) => self.local(model, progress).await,
            ModelName::Server { base_url, model } => {
                let refused = [
                    ("base_url", config.base_url.is_some()),
                    ("api_version", config.api_version.is_some()),
                ];
                refuse(&name, &refused)?;
                refuse_local(&name, config)?;
                let key = config.key_env.as_deref();
                let client = OpenAi {
                    key: key.and_then(|variable| self.around.get(variable)).map(SecretString::from),
                    key_variable: key.map(str::to_owned),
                    provider: "openai".to_owned(),
                    ..self.openai(&base_url, model)
                };
                needs(
                    self.turn,
                    "the server",
                    client.key.as_ref(),
                    client.key_variable.as_deref(),
                )?;
                Ok(Arc::new(client))
            }
            ModelName::Provided { provider, model } => {
                let not_azure = provider.kind != Kind::Azure;
                refuse(&name, &[("api_version", config.api_version.is_some() && not_azure)])?;
                refuse_local(&name, config)?;
                self.provided(provider, model)
            }
        }
    }

    /// The client for a provider's model.
    fn provided(
        &self,
        provider: &Provider,
        model: String,
    ) -> Result<Arc<dyn Cacheable>, ModelError> {
        let (config, around) = (self.config, self.around);
        // What the user says of the address in the environment is as good as the table; what a file says is not a reason to
        // send a key there.
        let known = provider.address_variable.and_then(|variable| around.get(variable));
        let known = known.map(|address| address::meant(provider.kind, &address));
        let usual = known.unwrap_or_else(|| provider.base_url.to_owned());
        let base_url = config.base_url.clone().unwrap_or_else(|| usual.clone());
        if base_url.is_empty() {
            let variable = provider.address_variable.unwrap_or("base_url");
            let what = format!(
                "{} has no address: set the environment variable {variable}, or base_url",
                provider.name
            );
            return Err(ModelError::Start { what, source: None });
        }
        let is_usual = base_url.trim_end_matches('/') == usual.trim_end_matches('/');
        let variable = match &config.key_env {
            Some(variable) => Some(variable.clone()),
            None => provider.key_variable.filter(|_| is_usual).map(str::to_owned),
        };
        let key =
            variable.as_deref().and_then(|variable| around.get(variable)).map(SecretString::from);
        needs(self.turn, provider.provider, key.as_ref(), variable.as_deref())?;
        Ok(match provider.kind {
            Kind::OpenAi | Kind::Azure => {
                let azure = provider.kind == Kind::Azure;
                let base_url = match azure {
                    true => {
                        format!("{}/openai/deployments/{model}", base_url.trim_end_matches('/'))
                    }
                    false => base_url,
                };
                let version =
                    config.api_version.clone().unwrap_or_else(|| AZURE_API_VERSION.to_owned());
                Arc::new(OpenAi {
                    provider: provider.provider.to_owned(),
                    key,
                    key_variable: variable,
                    key_place: if azure { KeyPlace::ApiKey } else { KeyPlace::Bearer },
                    query: if azure {
                        vec![("api-version".to_owned(), version)]
                    } else {
                        Vec::new()
                    },
                    ..self.openai(&base_url, model)
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
                    prices: self.prices.clone(),
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
        })
    }

    /// A client without a key.
    fn openai(&self, base_url: &str, model: String) -> OpenAi {
        let config = self.config;
        let usual = OpenAi::new(base_url, model);
        OpenAi {
            sees_images: config.sees_images.unwrap_or(usual.sees_images),
            price: config.price,
            prices: self.prices.clone(),
            stream: config.stream.unwrap_or(usual.stream),
            parameters: config.parameters.clone(),
            connection: connection(config),
            ..usual
        }
    }

    async fn local(
        &self,
        model: LocalModel,
        progress: &dyn Progress,
    ) -> Result<Arc<dyn Cacheable>, ModelError> {
        let config = self.config;
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
            cache: self.directory.map(Path::to_owned),
            ..usual
        };
        let (transport, stream) =
            (transport(config, Local::transport()), config.stream.unwrap_or(true));
        if self.turn == Turn::Later {
            let (name, parameters) = (Local::name_of(&options.model), config.parameters.clone());
            let late =
                Late { name, options, parameters, transport, stream, started: OnceCell::new() };
            late.install(progress).await;
            return Ok(Arc::new(late));
        }
        Ok(Arc::new(Local::start(&options, progress).await?.using(
            &config.parameters,
            transport,
            stream,
        )))
    }
}

/// Refuses what was set and does not apply.
fn refuse(to: &str, set: &[(&str, bool)]) -> Result<(), ModelError> {
    match set.iter().find(|(_, set)| *set) {
        None => Ok(()),
        Some((field, _)) => Err(ModelError::Start {
            what: format!("`{field}` does not apply to {to}: leave it out"),
            source: None,
        }),
    }
}

fn refuse_local(name: &str, config: &ModelConfig) -> Result<(), ModelError> {
    refuse(name, &[("context", config.context.is_some()), ("threads", config.threads.is_some())])
}

fn needs(
    turn: Turn,
    provider: &str,
    key: Option<&SecretString>,
    variable: Option<&str>,
) -> Result<(), ModelError> {
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
