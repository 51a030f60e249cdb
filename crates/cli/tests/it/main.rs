//! The command as a person or a program meets it: exit status, standard output and standard error.
//!
//! Tests that run code need the image `python`; the first of them pulls it into the user's cache.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod chat;
mod chat_config;
mod chat_local;
mod command;
mod executors;
mod names;
mod runs;
mod signals;
mod terminal;
mod texts;
