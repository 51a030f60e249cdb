//! Models that answer: clients for OpenAI-compatible servers, Anthropic and Ollama, a small real model on this machine,
//! recordings and scripts; with a cache on disk, prices, retries and lists of models tried in order.
//!
//! Each is a [`ModelClient`](cellblock_agents::ModelClient); this crate knows nothing of chats.

mod anthropic;
mod cache;
pub mod choose;
mod fallback;
mod http;
mod local;
mod lock;
mod ollama;
mod openai;
pub mod price;
pub mod replay;
mod vision;
mod wire;

pub use anthropic::Anthropic;
pub use cache::{CacheStore, Cacheable, Cached};
pub use choose::ModelConfig;
pub use fallback::Fallback;
pub use http::{Connection, KeyPlace, Transport};
pub use local::{Local, LocalModel, LocalOptions};
pub use ollama::Ollama;
pub use openai::{Names, OpenAi};
pub use price::{Price, PriceTable, PriceTableError};
#[cfg(feature = "oracles")]
pub use replay::oracles;
pub use replay::{Recording, RecordingFile, Replay};
