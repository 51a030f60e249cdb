//! Tests of the model clients, over loopback only.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs
)]

mod cache;
mod chats;
mod http_anthropic;
mod http_bad;
mod http_bounds;
mod http_fallback;
mod http_ollama;
mod http_openai;
mod http_secrets;
mod http_server;
mod local;
mod replay;
