//! Model clients: for OpenAI-compatible servers, Anthropic and Ollama, for a small real model on
//! this machine, for recordings and scripts; with a cache on disk, prices, retries and fallbacks.
//!
//! Each client is a [`ModelClient`](cellblock_agents::ModelClient). This crate knows nothing about
//! chats.

mod anthropic;
mod api;
mod cache;
pub mod choose;
mod fallback;
mod http;
mod local;
mod ollama;
mod openai;
mod price;
pub mod replay;
mod vision;

pub use anthropic::Anthropic;
pub use cache::{CacheStore, Cacheable, Cached};
pub use choose::ModelConfig;
pub use fallback::Fallback;
pub use http::{Connection, KeyPlace, Transport};
pub use local::{Local, LocalModel, LocalOptions};
pub use ollama::Ollama;
pub use openai::{NamePlace, OpenAi};
pub use price::{Price, PriceTable, PriceTableError};
#[cfg(feature = "oracles")]
pub use replay::oracles;
pub use replay::{Recording, RecordingFile, Replay};
