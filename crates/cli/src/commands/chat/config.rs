//! Chats that a file describes: [`format`] is the description, [`file`] reads it, and [`agents`]
//! and [`chats`] build from it.

mod agents;
mod chats;
mod file;
mod format;

pub use chats::plan;
pub use file::{ConfigFile, read};
