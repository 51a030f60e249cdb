//! Clients from the name of a model or from a few lines of a configuration file.
//!
//! | Name | Model |
//! |---|---|
//! | `openai/gpt-4o-mini`, `anthropic/claude-…` | a model of a provider ([`PROVIDERS`]) |
//! | `gpt-4o-mini`, `claude-…` | a model of the provider whose names have this prefix |
//! | `http://127.0.0.1:8080/v1#qwen2.5-coder` | a model of any server with OpenAI's API |
//! | `local` | the small model that runs on this machine without a key |
//! | `local:/models/qwen2.5-coder.gguf` | any other model that runs on this machine |
//!
//! Prices come from a table ([`PriceTable`](crate::PriceTable)), which a file can correct and
//! extend. [`ModelConfig::unpriced`] names the models without a price before the first call.
//!
//! Keys come only from environment variables, so that no file and no command line holds them.

mod address;
mod client;
mod config;
mod deferred;
mod entry;
mod environment;
mod name;
mod prices;
mod providers;

pub use config::{CacheChoice, ModelConfig, Seconds, name_or_table};
pub use name::{ModelName, default_name};
pub use providers::{PROVIDERS, Provider, ProviderApi};
