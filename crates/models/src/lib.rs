//! Model clients: for OpenAI-compatible servers, Anthropic and Ollama, for a small real model on
//! this machine, for recordings and scripts; with a cache on disk, prices, retries and fallbacks.
//!
//! Each client is a [`ModelClient`](cellblock_agents::ModelClient). This crate knows nothing about
//! chats.
//!
//! ```text
//!  name, file ─► choose ─► Cached ─► Fallback ─► OpenAi, Anthropic, Ollama ─► http ─► server
//!                  ├─────► Replay, Recording       (`api`, `price`)           bounds, retries
//!                  └─────► Local: wheels ─► llama.cpp on loopback ─► OpenAi
//! ```
//!
//! A provider's folder has the shapes of its requests and answers, and nothing else. `local`
//! installs a server and a model as wheels, through the user's installer. The server is a child
//! that ends when its standard input closes, so it cannot outlive this process, and it requires a
//! key that only this process knows. A recording answers by matching requests, so that a test shows
//! what was asked; each exchange is used once. The cache is one SQLite file, whose key is a hash of
//! everything that decides an answer.

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
