//! Languages: their tags, their file extensions, and telling one from code that has no tag.

mod features;
mod infer;
mod shell;
mod tags;

pub use infer::infer;
use tags::{Kind, LANGUAGES, Row};

use cellblock_exec::Language;

/// The language that a tag names, such as `python` for `py`, `Python3`, `.python` and `language-python`.
///
/// A tag that no table knows is a language of its own, in lower case, and an executor says that it cannot run it.
/// `None` for a blank tag.
pub fn from_tag(tag: &str) -> Option<Language> {
    let tag = tag.trim().to_lowercase();
    let tag = tag.trim_start_matches('.');
    let tag = tag.strip_prefix("language-").or_else(|| tag.strip_prefix("lang-")).unwrap_or(tag);
    if tag.is_empty() {
        return None;
    }
    let version_free =
        || tag.trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, '.' | '-' | '_' | ' '));
    let row = find(tag).or_else(|| find(version_free()).filter(|row| row.name == "python"));
    Some(row.map_or_else(|| Language::new(tag), |row| Language::from_static(row.name)))
}

/// The language of a file by its extension; `None` when the extension is missing or not known.
pub fn from_filename(path: &str) -> Option<Language> {
    find(&crate::filename::extension(path)?.to_lowercase())
        .map(|row| Language::from_static(row.name))
}

/// Whether a table knows the tag, in lower case, as that of a language.
pub fn is_tag(tag: &str) -> bool {
    find(&tag.to_lowercase()).is_some()
}

/// Whether blocks of a language are there to be run. Blocks of JSON, text, program output, a console transcript, HTML, CSS and
/// the like are there to be read or saved: one that is not run is no failure. A language that is not known counts as a
/// program.
pub fn is_program(language: &Language) -> bool {
    find(language.as_str()).is_none_or(|row| row.kind == Kind::Program)
}

/// The extension of a file in this language, without the dot; `txt` for a language that is not known.
pub fn file_extension(language: &Language) -> &'static str {
    find(language.as_str()).map_or("txt", |row| row.extension)
}

/// The row that has `tag` as its name, its extension or an alias; names go first.
fn find(tag: &str) -> Option<&'static Row> {
    LANGUAGES
        .iter()
        .find(|row| row.name == tag)
        .or_else(|| LANGUAGES.iter().find(|row| row.aliases.contains(&tag)))
        .or_else(|| LANGUAGES.iter().find(|row| row.extension == tag))
}
