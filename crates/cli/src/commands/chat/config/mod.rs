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
            let at = error.span().unwrap_or(0..0);
            // The parser names a field that it does not know, but not one whose value is wrong.
            let field = field(&text, &at).filter(|field| !error.message().contains(field));
            let field = field.map(|field| format!("`{field}`: ")).unwrap_or_default();
            Err(usage(
                format!("{name}, line {}: {field}{}", line(&text, &at), error.message()),
                HINT,
            ))
        }
    }
}

impl File {
    /// Whether it describes several chats, each with a task of its own.
    pub fn has_all_tasks(&self) -> bool {
        let steps = &self.config.sequence;
        !steps.is_empty() && steps.iter().all(|step| step.get_ref().task.is_some())
    }

    /// A fault at a place.
    pub fn fault(&self, at: Range<usize>, what: impl fmt::Display) -> anyhow::Error {
        usage(format!("{}, line {}: {what}", self.name, line(&self.text, &at)), HINT)
    }
}

/// The line of a place, from 1.
fn line(text: &str, at: &Range<usize>) -> usize {
    text.as_bytes().iter().take(at.start).filter(|byte| **byte == b'\n').count() + 1
}

/// The field whose value is at a place, if both are on one line.
fn field<'t>(text: &'t str, at: &Range<usize>) -> Option<&'t str> {
    let before = text.get(..at.start)?;
    let begun = before.rsplit('\n').next()?;
    let (before, rest) = begun.rsplit_once('=')?;
    // Of `{ a = 1, b = ` it is the last one.
    let key = before.rsplit(['{', ',']).next()?.trim();
    let is_key = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    (rest.trim().is_empty() && !key.is_empty() && key.chars().all(is_key)).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_of_a_value_is_found() {
        for (text, value, expected) in [
            ("a = 1\nkind = \"usr\"\n", "\"usr\"", Some("kind")),
            ("chat = { speakers = \"auto\", max_turns = -1 }", "-1", Some("max_turns")),
            ("list = [1, 2]", "2", None),
            ("[chat", "[", None),
        ] {
            let at = text.find(value).unwrap();
            assert_eq!(field(text, &(at..at)), expected, "{text}");
        }
    }
}
