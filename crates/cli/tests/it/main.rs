//! The command from outside: exit status, standard output and standard error.
//!
//! Tests that run code need the image `python`; the first one pulls it into the user's cache.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod chat;
mod chat_config;
mod chat_local;
mod command;
mod executors;
mod names;
mod recording;
mod runs;
mod signals;
mod terminal;
mod texts;
