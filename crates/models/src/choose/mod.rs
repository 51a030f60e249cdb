//! From a name, or a few lines of a configuration file, to a client.
//!
//! | Name | Model |
//! |---|---|
//! | `openai/gpt-4o-mini`, `anthropic/claude-…`, `openrouter/meta-llama/…` | of a provider ([`PROVIDERS`]) |
//! | `gpt-4o-mini`, `claude-…` | of the provider whose names begin so |
//! | `http://127.0.0.1:8080/v1#qwen2.5-coder` | of any server with OpenAI's chat completions |
//! | `local` | the small one that runs on this machine without a key |
//! | `local:/models/qwen2.5-coder.gguf` | any other one that runs on this machine |
//!
//! What a model costs is in a table ([`PriceTable`](crate::PriceTable)), which a file can correct and add to; where it is unknown,
//! [`ModelConfig::unpriced`] tells before the first call.
//!
//! Keys come from environment variables and from nowhere else, so that they are in no file and in no command line.

mod address;
mod client;
mod config;
mod entry;
mod late;
mod name;
mod prices;
mod providers;

pub use config::{CacheChoice, ModelConfig, Seconds, name_or_table};
pub use name::{ModelName, default_name};
pub use providers::{Kind, PROVIDERS, Provider};
