//! The configuration of a model, as data and in TOML.

use std::{
    fmt,
    num::NonZeroU32,
    path::{Path, PathBuf},
    time::Duration,
};

use cellblock_agents::Parameters;
use serde::{
    Deserialize, Deserializer,
    de::{self, value::MapAccessDeserializer},
};

use crate::{cache::Cached, price::Price};

/// A model and its settings. In TOML all fields are optional, and unknown fields are refused:
///
/// ```toml
/// model = "openai/gpt-4o-mini"
/// parameters = { temperature = 0.2, max_tokens = 1000 }
/// cache = 7
/// requests_per_minute = 60
/// fallback = ["anthropic/claude-haiku-4-5", { model = "local", cache = false }]
/// ```
///
/// A field that does not apply to the model, such as a key for a local one, is refused when the
/// client is made.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelConfig {
    /// The name; see [the table](super). Default: [`default_name`](super::default_name).
    pub model: Option<String>,
    /// An address that replaces the provider's. The provider's key is not sent there: name another
    /// one with `key_env`.
    pub base_url: Option<String>,
    /// The environment variable that holds the key. Default: the provider's.
    pub key_env: Option<String>,
    /// Azure's version of the API. Default: `2024-10-21`.
    pub api_version: Option<String>,
    /// Defaults for the parameters that requests leave open.
    pub parameters: Parameters,
    /// The price in US dollars per million tokens. Default: from the table.
    pub price: Option<Price>,
    /// A file of prices, a [`PriceTable`](crate::PriceTable) in TOML. Its lines replace those of
    /// the embedded table. It also applies to the fallback models, unless they name their own.
    /// Default: the file that the environment variable `CELLBLOCK_PRICES` names, if any.
    pub prices: Option<PathBuf>,
    /// The caching of answers. Default: on, in namespace 41.
    pub cache: CacheChoice,
    /// The maximum time of a call in seconds, retries included. Default: 600.
    pub timeout: Option<Seconds>,
    /// The maximum number of retries of a failed call. Default: 3.
    pub retries: Option<u32>,
    /// The maximum number of calls in a minute. Default: no limit.
    pub requests_per_minute: Option<NonZeroU32>,
    /// True if images may be sent. Default: true for models that are known to see.
    pub sees_images: Option<bool>,
    /// True to stream answers if the caller listens. Default: true.
    pub stream: Option<bool>,
    /// The maximum of tokens in a conversation of a local model. Default: 4096.
    pub context: Option<u32>,
    /// The number of threads of a local model. Default: half of the machine's.
    pub threads: Option<NonZeroU32>,
    /// Models to try in this order if the model fails: names, or tables such as this one.
    #[serde(deserialize_with = "names_or_tables")]
    pub fallback: Vec<ModelConfig>,
    /// The directory of cached answers and local models. Default: the user's. It also applies to
    /// the fallback models. Configuration files cannot set it.
    #[serde(skip)]
    pub cache_directory: Option<PathBuf>,
}

/// The caching of answers; in TOML `false`, `true` or the number of a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheChoice {
    /// Answers are not cached.
    Off,
    /// Answers are cached in a namespace: with another number the model answers anew.
    Namespace(u64),
}

impl Default for CacheChoice {
    fn default() -> Self {
        CacheChoice::Namespace(Cached::DEFAULT_NAMESPACE)
    }
}

/// A time; in TOML a number of seconds above 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seconds(pub Duration);

impl ModelConfig {
    /// Returns the configuration of a model by its name, with the defaults for everything else.
    pub fn named(name: impl Into<String>) -> Self {
        Self { model: Some(name.into()), ..Self::default() }
    }

    /// Returns the model and its fallback models, those of fallback models included, each with the
    /// file of prices that applies to it.
    pub(crate) fn with_fallbacks(&self) -> Vec<(&ModelConfig, Option<&Path>)> {
        fn add<'c>(
            config: &'c ModelConfig,
            inherited: Option<&'c Path>,
            all: &mut Vec<(&'c ModelConfig, Option<&'c Path>)>,
        ) {
            let prices = config.prices.as_deref().or(inherited);
            all.push((config, prices));
            config.fallback.iter().for_each(|config| add(config, prices, all));
        }
        let mut all = Vec::new();
        add(self, None, &mut all);
        all
    }
}

/// Deserializes a model from its name or from a table, for serde's `deserialize_with`.
///
/// # Errors
/// The value is neither, or the table is not a valid [`ModelConfig`].
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

fn names_or_tables<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<ModelConfig>, D::Error> {
    #[derive(Deserialize)]
    struct Item(#[serde(deserialize_with = "name_or_table")] ModelConfig);
    Ok(Vec::<Item>::deserialize(deserializer)?.into_iter().map(|Item(config)| config).collect())
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
                let namespace = u64::try_from(namespace)
                    .map_err(|_| E::custom("the number of a namespace must be 0 or more"))?;
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
            _ => Err(de::Error::custom(format!("`{seconds}` is not a number of seconds above 0"))),
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
    fn unknown_fields_and_invalid_values_are_refused_with_their_place() {
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
