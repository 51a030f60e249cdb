//! A model in a configuration file.

use std::{fmt, num::NonZeroU32, path::PathBuf, sync::Arc, time::Duration};

use cellblock_agents::{ModelClient, ModelError, Parameters};
use cellblock_exec::Progress;
use serde::{
    Deserialize, Deserializer,
    de::{self, value::MapAccessDeserializer},
};

use super::{
    client::{Surroundings, client},
    prices,
};
use crate::{Cached, Price};

/// A model and how to use it. In TOML all fields are optional, and a field that is not known is refused:
///
/// ```toml
/// model = "openai/gpt-4o-mini"
/// parameters = { temperature = 0.2, max_tokens = 1000 }
/// cache = 7
/// requests_per_minute = 60
/// fallback = ["anthropic/claude-haiku-4-5", { model = "local", cache = false }]
/// ```
///
/// What does not apply to the model, such as a key for a local one, is refused when the client is made.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelConfig {
    /// Its name; see [the table](super). Default: [`default_name`](super::default_name).
    pub model: Option<String>,
    /// Another address than the provider's usual one. The provider's key is not sent there: name one with `key_env`.
    pub base_url: Option<String>,
    /// The environment variable that holds the key. Default: the provider's.
    pub key_env: Option<String>,
    /// Azure's version of the API. Default: `2024-10-21`.
    pub api_version: Option<String>,
    /// What requests leave open.
    pub parameters: Parameters,
    /// What it costs, in US dollars per million tokens. Default: by the table.
    pub price: Option<Price>,
    /// A file of prices, a [`PriceTable`](crate::PriceTable) in TOML, whose lines come before those of the embedded table. It
    /// holds for the models to fall back to as well, unless they name their own. Default: the one that the environment variable
    /// `CELLBLOCK_PRICES` names, if it is set.
    pub prices: Option<PathBuf>,
    /// Whether answers are kept. Default: yes, in namespace 41.
    pub cache: CacheChoice,
    /// The longest that a call may take, its repetitions included, in seconds. Default: 600.
    pub timeout: Option<Seconds>,
    /// How often a failed call is tried again. Default: 3.
    pub retries: Option<u32>,
    /// The most calls in a minute. Default: no limit.
    pub requests_per_minute: Option<NonZeroU32>,
    /// Whether images may be sent to it. Default: for models that are known to see.
    pub sees_images: Option<bool>,
    /// Whether answers come while they are written. Default: yes.
    pub stream: Option<bool>,
    /// For a local model: how many tokens a conversation may have. Default: 4096.
    pub context: Option<u32>,
    /// For a local model: how many threads it computes with. Default: half of the machine's.
    pub threads: Option<NonZeroU32>,
    /// Models to try in this order if it fails: names, or tables such as this one.
    #[serde(deserialize_with = "list")]
    pub fallback: Vec<ModelConfig>,
    /// The directory of the cache of answers and of local models. Default: the user's. It holds for the
    /// models to fall back to as well, and is not read from files.
    #[serde(skip)]
    pub cache_directory: Option<PathBuf>,
}

/// Whether answers are kept, in a file `false`, `true` or the number of a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheChoice {
    /// They are not.
    Off,
    /// They are, in a namespace: with another number, the model is asked again.
    Namespace(u64),
}

impl Default for CacheChoice {
    fn default() -> Self {
        CacheChoice::Namespace(Cached::DEFAULT_NAMESPACE)
    }
}

/// A time, in a file a number of seconds above 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seconds(pub Duration);

impl ModelConfig {
    /// A model by its name, used as usual.
    pub fn named(name: impl Into<String>) -> Self {
        Self { model: Some(name.into()), ..Self::default() }
    }

    /// Its client. A local model is installed, if it is not there, and started. One to fall back to is installed as well, so that
    /// `progress` shows it, but not started before its turn comes; if that fails it is only a warning, and is tried again then.
    ///
    /// # Errors
    /// [`ModelError::NoKey`] when a key is needed and not set, unless there is a model to fall back to;
    /// [`ModelError::Start`] for a name or a value that makes no sense, when a table of prices cannot be read, and when a local
    /// model does not start.
    pub async fn client(
        &self,
        progress: &dyn Progress,
    ) -> Result<Arc<dyn ModelClient>, ModelError> {
        client(self, &Surroundings::of_process(), progress).await
    }

    /// Those of its models, those to fall back to included, whose price is not known, by the names that their providers have for
    /// them. Their calls count as 0 dollars, so no limit on money stops them; except where the server itself tells what a call
    /// cost, or an answer names a model that is known, as deployments of Azure do. Models on this machine that cellblock or Ollama
    /// runs cost nothing, which is known.
    ///
    /// ```
    /// use cellblock_models::ModelConfig;
    ///
    /// let nobodys = ModelConfig::named("http://127.0.0.1:8080/v1#qwen2.5-coder");
    /// assert_eq!(nobodys.unpriced()?, ["qwen2.5-coder"]);
    /// assert!(ModelConfig::named("gpt-4o-mini").unpriced()?.is_empty());
    /// # Ok::<(), cellblock_agents::ModelError>(())
    /// ```
    ///
    /// # Errors
    /// [`ModelError::Start`] for a name that makes no sense, and when a table of prices cannot be read.
    pub fn unpriced(&self) -> Result<Vec<String>, ModelError> {
        prices::unpriced(self, &Surroundings::of_process())
    }
}

/// For serde's `deserialize_with`: a model as its name, or as a table.
///
/// # Errors
/// Those of [`ModelConfig`].
pub fn name_or_table<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ModelConfig, D::Error> {
    struct Visitor;
    impl<'de> de::Visitor<'de> for Visitor {
        type Value = ModelConfig;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("the name of a model or a table that describes one")
        }

        fn visit_str<E: de::Error>(self, name: &str) -> Result<ModelConfig, E> {
            Ok(ModelConfig::named(name))
        }

        fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<ModelConfig, A::Error> {
            ModelConfig::deserialize(MapAccessDeserializer::new(map))
        }
    }
    deserializer.deserialize_any(Visitor)
}

fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<ModelConfig>, D::Error> {
    #[derive(Deserialize)]
    struct Entry(#[serde(deserialize_with = "name_or_table")] ModelConfig);
    Ok(Vec::<Entry>::deserialize(deserializer)?.into_iter().map(|Entry(config)| config).collect())
}

impl<'de> Deserialize<'de> for CacheChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = CacheChoice;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("false, true or the number of a namespace")
            }

            fn visit_bool<E: de::Error>(self, on: bool) -> Result<CacheChoice, E> {
                Ok(if on { CacheChoice::default() } else { CacheChoice::Off })
            }

            fn visit_u64<E: de::Error>(self, namespace: u64) -> Result<CacheChoice, E> {
                Ok(CacheChoice::Namespace(namespace))
            }

            fn visit_i64<E: de::Error>(self, namespace: i64) -> Result<CacheChoice, E> {
                let namespace =
                    u64::try_from(namespace).map_err(|_| E::custom("a namespace is 0 or more"))?;
                Ok(CacheChoice::Namespace(namespace))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let seconds = f64::deserialize(deserializer)?;
        match Duration::try_from_secs_f64(seconds) {
            Ok(duration) if !duration.is_zero() => Ok(Self(duration)),
            _ => Err(de::Error::custom(format!("{seconds} is not a number of seconds above 0"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read() {
        let config: ModelConfig = toml::from_str(
            r#"
            model = "openai/gpt-4o-mini"
            base_url = "http://127.0.0.1:1/v1"
            key_env = "MY_KEY"
            parameters = { temperature = 0.2, stop = ["END"], extra = { logprobs = true } }
            price = { input = 1, output = 2.5 }
            prices = "prices.toml"
            cache = 7
            timeout = 30
            retries = 0
            requests_per_minute = 60
            sees_images = true
            fallback = ["local", { model = "claude-haiku-4-5", cache = false, timeout = 0.5 }]
            "#,
        )
        .unwrap();
        assert_eq!(config.cache, CacheChoice::Namespace(7));
        assert_eq!(config.prices, Some(PathBuf::from("prices.toml")));
        assert_eq!(config.timeout, Some(Seconds(Duration::from_secs(30))));
        assert_eq!(config.parameters.temperature, Some(0.2));
        assert_eq!(config.fallback[0], ModelConfig::named("local"));
        assert_eq!((config.fallback[1].cache, config.fallback.len()), (CacheChoice::Off, 2));
        assert_eq!(toml::from_str::<ModelConfig>("").unwrap(), ModelConfig::default());
        assert_eq!(ModelConfig::default().cache, CacheChoice::Namespace(41));
    }

    #[test]
    fn what_is_not_known_or_makes_no_sense_is_refused_with_its_place() {
        for (text, says) in [
            ("modle = \"x\"", "unknown field `modle`"),
            ("api_key = \"sk-1\"", "unknown field `api_key`"),
            ("parameters = { temprature = 1 }", "unknown field `temprature`"),
            ("fallback = [{ model = \"x\", retrys = 1 }]", "unknown field `retrys`"),
            ("fallback = [1]", "the name of a model or a table"),
            ("cache = \"yes\"", "false, true or the number"),
            ("cache = -1", "0 or more"),
            ("timeout = 0", "above 0"),
            ("timeout = -3", "above 0"),
            ("requests_per_minute = 0", "nonzero"),
            ("price = { input = -1, output = 1 }", "price"),
            ("cache_directory = \"/\"", "unknown field"),
        ] {
            let error = toml::from_str::<ModelConfig>(text).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
