//! The names of models.

use std::{fmt, path::PathBuf, str::FromStr};

use cellblock_agents::ModelError;

use super::{
    config::ModelConfig,
    environment::Environment,
    providers::{PROVIDERS, Provider},
};
use crate::local::LocalModel;

/// A model and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelName {
    /// A model on this machine, run by cellblock.
    Local(LocalModel),
    /// A model of a provider.
    Provided {
        /// The provider.
        provider: &'static Provider,
        /// The model, as the provider knows it.
        model: String,
    },
    /// A model of any server with OpenAI's chat completions.
    Server {
        /// Its base address.
        base_url: String,
        /// The model, as the server knows it.
        model: String,
    },
}

/// Returns the default model: that of the first provider in [`PROVIDERS`] whose key is in the
/// environment, or else `local`.
pub fn default_name() -> String {
    default_name_in(&Environment::of_process())
}

/// Returns the name that a configuration means in an environment.
pub fn name_in(config: &ModelConfig, environment: &Environment) -> String {
    config.model.clone().unwrap_or_else(|| default_name_in(environment))
}

fn default_name_in(environment: &Environment) -> String {
    let has_key = |provider: &&Provider| {
        provider.key_variable.is_some_and(|variable| environment.get(variable).is_some())
    };
    PROVIDERS
        .iter()
        .filter(has_key)
        .find_map(|provider| Some(format!("{}/{}", provider.name, provider.default_model?)))
        .unwrap_or_else(|| "local".to_owned())
}

impl FromStr for ModelName {
    type Err = ModelError;

    fn from_str(name: &str) -> Result<Self, ModelError> {
        let name = name.trim();
        let invalid = |why: String| ModelError::Start {
            what: format!("`{name}` is not the name of a model: {why}"),
            source: None,
        };
        if let Some(path) = name.strip_prefix("local:") {
            return match path.trim() {
                "" => Err(invalid(
                    "write the path of a GGUF file after `local:`, or only `local`".to_owned(),
                )),
                path => Ok(ModelName::Local(LocalModel::File(PathBuf::from(path)))),
            };
        }
        if name == "local" {
            return Ok(ModelName::Local(LocalModel::Default));
        }
        if name.starts_with("http://") || name.starts_with("https://") {
            return match name.split_once('#') {
                Some((base_url, model)) if !model.is_empty() => {
                    Ok(ModelName::Server { base_url: base_url.to_owned(), model: model.to_owned() })
                }
                // The message omits the name: an address may hold a password.
                _ => Err(ModelError::Start {
                    what:
                        "an address alone is not the name of a model: write the model after `#`, \
                           as in `http://127.0.0.1:8080/v1#qwen2.5-coder`"
                            .to_owned(),
                    source: None,
                }),
            };
        }
        if let Some((before, model)) = name.split_once('/')
            && let Some(provider) = PROVIDERS.iter().find(|provider| provider.name == before)
        {
            return match model {
                "" => Err(invalid(format!("write the model after `{before}/`"))),
                model => Ok(ModelName::Provided { provider, model: model.to_owned() }),
            };
        }
        let has_prefix =
            |provider: &&Provider| provider.prefixes.iter().any(|prefix| name.starts_with(prefix));
        if let Some(provider) = PROVIDERS.iter().find(has_prefix) {
            return Ok(ModelName::Provided { provider, model: name.to_owned() });
        }
        if name.to_ascii_lowercase().ends_with(".gguf") {
            return Err(invalid(format!("write `local:{name}` for a file")));
        }
        let names: Vec<&str> = PROVIDERS.iter().map(|provider| provider.name).collect();
        Err(invalid(format!(
            "write PROVIDER/MODEL with one of {}; or URL#MODEL for another server; or `local`, or \
             `local:FILE.gguf`",
            names.join(", ")
        )))
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ModelName::Local(LocalModel::Default) => f.write_str("local"),
            ModelName::Local(LocalModel::File(path)) => write!(f, "local:{}", path.display()),
            ModelName::Provided { provider, model } => write!(f, "{}/{model}", provider.name),
            ModelName::Server { base_url, model } => write!(f, "{base_url}#{model}"),
        }
    }
}

#[cfg(test)]
mod tests;
