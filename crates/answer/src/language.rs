//! Languages: their tags, their file extensions, and the inference for code without a tag.

mod features;
mod infer;
mod shell;
mod tags;

pub use infer::infer;
use tags::{LANGUAGES, LanguageKind, LanguageRow};

use cellblock_exec::Language;

/// Returns the language that a tag names, such as `python` for `py`, `Python3`, `.python` and
/// `language-python`.
///
/// An unknown tag is a language of its own, in lower case; an executor refuses it by name. `None`
/// for a blank tag.
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

/// Returns the language of a file by its extension; `None` if the extension is missing or unknown.
pub fn from_filename(path: &str) -> Option<Language> {
    find(&crate::filename::extension(path)?.to_lowercase())
        .map(|row| Language::from_static(row.name))
}

/// True if the table has the tag.
pub(crate) fn is_tag(tag: &str) -> bool {
    find(&tag.to_lowercase()).is_some()
}

/// True if blocks of a language are programs. Blocks of JSON, text, program output, console
/// transcripts, HTML, CSS and the like are data: they are saved or shown, and not running them is
/// no failure. An unknown language counts as a program.
pub fn is_program(language: &Language) -> bool {
    find(language.as_str()).is_none_or(|row| row.kind == LanguageKind::Program)
}

/// Returns the extension of a file in this language, without the dot; `txt` for an unknown
/// language.
pub fn file_extension(language: &Language) -> &'static str {
    find(language.as_str()).map_or("txt", |row| row.extension)
}

/// Returns the row with `tag` as its name, an alias or its extension, in this order.
fn find(tag: &str) -> Option<&'static LanguageRow> {
    LANGUAGES
        .iter()
        .find(|row| row.name == tag)
        .or_else(|| LANGUAGES.iter().find(|row| row.aliases.contains(&tag)))
        .or_else(|| LANGUAGES.iter().find(|row| row.extension == tag))
}
