//! Chats that a file describes.

mod build;
mod cast;
mod format;

use std::{fmt, ops::Range, path::Path};

use anyhow::Result;

pub use build::plan;
use format::Config;

use crate::{failure::usage, input};

/// A file and what is in it.
pub struct File {
    /// What is in it.
    pub config: Config,
    name: String,
    text: String,
}

/// Where to read on.
const HINT: &str = "docs/chat.md explains each field, with examples";

/// Reads a file.
///
/// # Errors
/// When it cannot be read, or says something that makes no sense; the message names the line.
pub fn read(path: &Path) -> Result<File> {
    let (name, text) = (input::name(path), input::text(path)?);
    match toml::from_str::<Config>(&text) {
        Ok(config) => Ok(File { config, name, text }),
        Err(error) => {
            let line = error.span().map(|span| line(&text, span)).unwrap_or(1);
            Err(usage(format!("{name}, line {line}: {}", error.message()), HINT))
        }
    }
}

impl File {
    /// A fault at a place.
    pub fn fault(&self, at: Range<usize>, what: impl fmt::Display) -> anyhow::Error {
        usage(format!("{}, line {}: {what}", self.name, line(&self.text, at)), HINT)
    }
}

/// The line of a place, from 1.
fn line(text: &str, at: Range<usize>) -> usize {
    text.as_bytes().iter().take(at.start).filter(|byte| **byte == b'\n').count() + 1
}
