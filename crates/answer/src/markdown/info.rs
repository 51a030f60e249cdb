//! The info string of a fence: the text after the opening backticks.
//!
//! CommonMark says only that its first word is usually the language. People write `python`,
//! `python title="a"`, `{.python .numberLines}`, `{r, echo=FALSE}`, `python:plot.py`,
//! `py {linenos=true}`, `rust,ignore`, `src/plot.py` and more.

use cellblock_exec::Language;

use crate::{filename::looks_like_filename, language};

/// The content of an info string.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Info {
    /// The language of its tag.
    pub language: Option<Language>,
    /// The file name, as it was written.
    pub filename: Option<String>,
}

/// Attributes whose value is a file name.
const FILE_KEYS: [&str; 5] = ["filename", "file", "path", "filepath", "file_name"];

/// Attributes whose value can be a file name or a title.
const TITLE_KEYS: [&str; 3] = ["title", "name", "label"];

impl Info {
    /// Parses an info string, and ignores words that it does not know.
    pub fn read(info: &str) -> Self {
        let mut read = Self::default();
        for (position, word) in words(info).into_iter().enumerate() {
            match word.split_once('=') {
                Some((key, value)) => read.attribute(key, value),
                None if position == 0 => read.tag(&word),
                // `{#id .python}`: the first class is the language.
                None if read.language.is_none() && word.starts_with('.') => read.tag(&word),
                None if read.filename.is_none() && is_lone_filename(&word) => {
                    read.filename = Some(word)
                }
                None => {}
            }
        }
        read
    }

    /// Parses the first word: `python`, `python:plot.py` or `plot.py`.
    fn tag(&mut self, word: &str) {
        let word = word.trim_start_matches('.');
        if word.starts_with('#') {
            return;
        }
        // A word without a colon can be a file name, unless it is a tag with a dot, such as
        // `node.js`.
        let (tag, rest) = match word.split_once(':') {
            Some((tag, rest)) => (tag, Some(rest)),
            None => (word, None),
        };
        if rest.is_none() && is_lone_filename(tag) {
            self.language = language::from_filename(tag);
            self.filename = Some(tag.to_owned());
            return;
        }
        self.language = language::from_tag(tag);
        if let Some(rest) = rest.filter(|rest| looks_like_filename(rest)) {
            self.filename = Some(rest.to_owned());
        }
    }

    fn attribute(&mut self, key: &str, value: &str) {
        let key = key.trim_start_matches('.').to_ascii_lowercase();
        let is_filename = FILE_KEYS.contains(&key.as_str()) && !value.is_empty()
            || TITLE_KEYS.contains(&key.as_str()) && looks_like_filename(value);
        if is_filename && self.filename.is_none() {
            self.filename = Some(value.to_owned());
        } else if matches!(key.as_str(), "lang" | "language") && self.language.is_none() {
            self.language = language::from_tag(value);
        }
    }
}

/// True if a word without a key is a file name: it has a known extension, or a directory, and is
/// not itself a tag.
fn is_lone_filename(word: &str) -> bool {
    looks_like_filename(word)
        && (language::from_filename(word).is_some() || word.contains('/'))
        && !language::is_tag(word)
}

/// Returns the words of an info string. Blanks, commas and braces separate them, except between
/// quotes; the quotes are dropped.
fn words(info: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    for c in info.chars() {
        match quote {
            Some(end) if c == end => quote = None,
            Some(_) => word.push(c),
            // Only a value is quoted: an apostrophe elsewhere is a letter.
            None if matches!(c, '"' | '\'') && (word.is_empty() || word.ends_with('=')) => {
                quote = Some(c)
            }
            None if c.is_whitespace() || matches!(c, ',' | '{' | '}') => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            None => word.push(c),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}
