//! A file that describes chats, and errors that name their line in it.

use std::{fmt, ops::Range, path::Path};

use anyhow::Result;

use super::format::ConfigRoot;
use crate::{failure::usage, input};

/// A file with its description.
pub struct ConfigFile {
    /// The description.
    pub config: ConfigRoot,
    /// The file's name for messages.
    pub name: String,
    text: String,
}

const HINT: &str = "docs/chat.md explains each field, with examples";

/// Reads a file.
///
/// # Errors
/// If it cannot be read or is invalid; the message names the line.
pub fn read(path: &Path) -> Result<ConfigFile> {
    let (name, text) = (input::name(path), input::text(path)?);
    match toml::from_str::<ConfigRoot>(&text) {
        Ok(config) => Ok(ConfigFile { config, name, text }),
        Err(error) => {
            let at = error.span().unwrap_or(0..0);
            // The parser names an unknown field, but not a field with an invalid value.
            let field = field(&text, &at).filter(|field| !error.message().contains(field));
            let field = field.map(|field| format!("`{field}`: ")).unwrap_or_default();
            let line = line(&text, &at);
            Err(usage(format!("{name}, line {line}: {field}{}", error.message()), HINT))
        }
    }
}

impl ConfigFile {
    /// True if it describes a sequence in which each chat has its own task.
    pub fn has_all_tasks(&self) -> bool {
        let steps = &self.config.sequence;
        !steps.is_empty() && steps.iter().all(|step| step.get_ref().task.is_some())
    }

    /// Returns an error about a place in the file.
    pub fn error(&self, at: Range<usize>, what: impl fmt::Display) -> anyhow::Error {
        usage(format!("{}, line {}: {what}", self.name, line(&self.text, &at)), HINT)
    }
}

/// Returns the line of a place, from 1.
fn line(text: &str, at: &Range<usize>) -> usize {
    text.as_bytes().iter().take(at.start).filter(|byte| **byte == b'\n').count() + 1
}

/// Returns the field whose value is at a place, if both are on one line.
fn field<'t>(text: &'t str, at: &Range<usize>) -> Option<&'t str> {
    let before = text.get(..at.start)?;
    let begun = before.rsplit('\n').next()?;
    let (before, rest) = begun.rsplit_once('=')?;
    // The last field of `{ a = 1, b = `.
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
