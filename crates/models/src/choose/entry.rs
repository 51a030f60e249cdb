//! The client of one model in a configuration.

use std::{path::Path, sync::Arc};

use cellblock_agents::ModelError;
use cellblock_exec::Progress;
use secrecy::SecretString;
use tokio::sync::OnceCell;

use super::{
    address::resolve_address,
    config::ModelConfig,
    deferred::DeferredLocal,
    environment::Environment,
    name::{ModelName, name_in},
    providers::{Provider, ProviderApi},
};
use crate::{
    anthropic::Anthropic,
    cache::Cacheable,
    http::{Connection, KeyPlace, Transport},
    local::{Local, LocalModel, LocalOptions},
    ollama::Ollama,
    openai::OpenAi,
    price::{Price, PriceTable},
};

/// The default version of Azure's API.
const AZURE_API_VERSION: &str = "2024-10-21";

/// One model of a configuration, with everything that its client needs.
pub struct ModelEntry<'c> {
    pub config: &'c ModelConfig,
    /// The table of prices; `None` for the embedded one.
    pub prices: Option<Arc<PriceTable>>,
    /// The directory of local models; `None` for the user's.
    pub directory: Option<&'c Path>,
    pub environment: &'c Environment,
    pub position: Position,
}

/// The position of a model among the models of its configuration. In a list, a missing key is an
/// error of the call, so that another model can answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    Only,
    First,
    Fallback,
}

/// The address and the key of a server.
struct Access {
    base_url: String,
    key: Option<SecretString>,
    key_variable: Option<String>,
}

impl ModelEntry<'_> {
    /// Creates the client. A local model is installed, and started unless it is a fallback.
    pub async fn client(&self, progress: &dyn Progress) -> Result<Arc<dyn Cacheable>, ModelError> {
        let (config, name) = (self.config, name_in(self.config, self.environment));
        match name.parse()? {
            ModelName::Local(model) => self.local(model, progress).await,
            ModelName::Server { base_url, model } => {
                let set = [
                    ("base_url", config.base_url.is_some()),
                    ("api_version", config.api_version.is_some()),
                ];
                refuse_fields(&name, &set)?;
                refuse_local_fields(&name, config)?;
                let access = self.access("the server", base_url, config.key_env.clone())?;
                Ok(Arc::new(self.openai("openai", access, model)))
            }
            ModelName::Provided { provider, model } => {
                let has_versions = provider.api == ProviderApi::Azure;
                let set = [("api_version", config.api_version.is_some() && !has_versions)];
                refuse_fields(&name, &set)?;
                refuse_local_fields(&name, config)?;
                self.provided(provider, model)
            }
        }
    }

    fn provided(
        &self,
        provider: &Provider,
        model: String,
    ) -> Result<Arc<dyn Cacheable>, ModelError> {
        let access = self.provider_access(provider)?;
        Ok(match provider.api {
            ProviderApi::OpenAi => Arc::new(self.openai(provider.telemetry_name, access, model)),
            ProviderApi::Azure => {
                let base_url =
                    format!("{}/openai/deployments/{model}", access.base_url.trim_end_matches('/'));
                let version = self.config.api_version.as_deref().unwrap_or(AZURE_API_VERSION);
                let access = Access { base_url, ..access };
                Arc::new(OpenAi {
                    key_place: KeyPlace::ApiKey,
                    query: vec![("api-version".to_owned(), version.to_owned())],
                    ..self.openai(provider.telemetry_name, access, model)
                })
            }
            ProviderApi::Anthropic => {
                let (config, default) = (self.config, Anthropic::new(model));
                Arc::new(Anthropic {
                    provider: provider.telemetry_name.to_owned(),
                    base_url: access.base_url,
                    key: access.key,
                    key_variable: access.key_variable,
                    sees_images: config.sees_images.unwrap_or(default.sees_images),
                    price: config.price,
                    prices: self.prices.clone(),
                    stream: config.stream.unwrap_or(default.stream),
                    parameters: config.parameters.clone(),
                    connection: Connection::new(transport(config, Transport::default())),
                    ..default
                })
            }
            ProviderApi::Ollama => {
                let (config, default) = (self.config, Ollama::new(model));
                Arc::new(Ollama {
                    provider: provider.telemetry_name.to_owned(),
                    base_url: access.base_url,
                    key: access.key,
                    sees_images: config.sees_images.unwrap_or(default.sees_images),
                    price: config.price.unwrap_or(Price::FREE),
                    stream: config.stream.unwrap_or(default.stream),
                    parameters: config.parameters.clone(),
                    connection: Connection::new(transport(config, Transport::default())),
                    ..default
                })
            }
        })
    }

    /// Returns the address and the key for a provider. Its own key goes only to its own address.
    fn provider_access(&self, provider: &Provider) -> Result<Access, ModelError> {
        // An address in the environment is as trusted as the table. One in a file is not: a key
        // must not be sent there unless the file also names it.
        let address = provider.address_variable.and_then(|name| self.environment.get(name));
        let trusted_url = address.map_or_else(
            || provider.base_url.to_owned(),
            |address| resolve_address(provider.api, &address),
        );
        let base_url = self.config.base_url.clone().unwrap_or_else(|| trusted_url.clone());
        if base_url.is_empty() {
            let variable = provider.address_variable.unwrap_or("base_url");
            let what = format!(
                "{} has no address: set the environment variable {variable}, or `base_url`",
                provider.name
            );
            return Err(ModelError::Start { what, source: None });
        }
        let is_trusted = base_url.trim_end_matches('/') == trusted_url.trim_end_matches('/');
        let own_variable = provider.key_variable.filter(|_| is_trusted).map(str::to_owned);
        let key_variable = self.config.key_env.clone().or(own_variable);
        self.access(provider.telemetry_name, base_url, key_variable)
    }

    /// Looks up the key. A missing key is an error here only if no other model can answer.
    fn access(
        &self,
        provider: &str,
        base_url: String,
        key_variable: Option<String>,
    ) -> Result<Access, ModelError> {
        let variable = key_variable.as_deref();
        let key = variable.and_then(|name| self.environment.get(name)).map(SecretString::from);
        match variable {
            Some(variable) if self.position == Position::Only && key.is_none() => {
                Err(ModelError::NoKey {
                    provider: provider.to_owned(),
                    variable: variable.to_owned(),
                })
            }
            _ => Ok(Access { base_url, key, key_variable }),
        }
    }

    fn openai(&self, provider: &str, access: Access, model: String) -> OpenAi {
        let (config, default) = (self.config, OpenAi::new(access.base_url, model));
        OpenAi {
            provider: provider.to_owned(),
            key: access.key,
            key_variable: access.key_variable,
            sees_images: config.sees_images.unwrap_or(default.sees_images),
            price: config.price,
            prices: self.prices.clone(),
            stream: config.stream.unwrap_or(default.stream),
            parameters: config.parameters.clone(),
            connection: Connection::new(transport(config, Transport::default())),
            ..default
        }
    }

    async fn local(
        &self,
        model: LocalModel,
        progress: &dyn Progress,
    ) -> Result<Arc<dyn Cacheable>, ModelError> {
        let config = self.config;
        let set = [
            ("base_url", config.base_url.is_some()),
            ("key_env", config.key_env.is_some()),
            ("api_version", config.api_version.is_some()),
            ("price", config.price.is_some()),
            ("sees_images", config.sees_images == Some(true)),
        ];
        refuse_fields("a local model", &set)?;
        let default = LocalOptions::default();
        let options = LocalOptions {
            model,
            context: config.context.unwrap_or(default.context),
            threads: config.threads,
            cache: self.directory.map(Path::to_owned),
            ..default
        };
        let transport = transport(config, Local::default_transport());
        let stream = config.stream.unwrap_or(true);
        if self.position == Position::Fallback {
            let deferred = DeferredLocal {
                name: options.model.name(),
                options,
                parameters: config.parameters.clone(),
                transport,
                stream,
                started: OnceCell::new(),
            };
            deferred.install(progress).await;
            return Ok(Arc::new(deferred));
        }
        let local = Local::start(&options, progress).await?;
        Ok(Arc::new(local.with_settings(&config.parameters, transport, stream)))
    }
}

/// Refuses fields that are set but do not apply to a model.
fn refuse_fields(model: &str, set: &[(&str, bool)]) -> Result<(), ModelError> {
    match set.iter().find(|(_, is_set)| *is_set) {
        None => Ok(()),
        Some((field, _)) => Err(ModelError::Start {
            what: format!("`{field}` does not apply to {model}: remove it"),
            source: None,
        }),
    }
}

fn refuse_local_fields(name: &str, config: &ModelConfig) -> Result<(), ModelError> {
    let set = [("context", config.context.is_some()), ("threads", config.threads.is_some())];
    refuse_fields(name, &set)
}

fn transport(config: &ModelConfig, default: Transport) -> Transport {
    Transport {
        timeout: config.timeout.map_or(default.timeout, |seconds| seconds.0),
        retries: config.retries.unwrap_or(default.retries),
        requests_per_minute: config.requests_per_minute,
        ..default
    }
}
