//! File names that an answer gives to its blocks.
//!
//! A name stands in a comment in the block's first line (`# filename: plot.py`) or in the info
//! string of its fence (`python:plot.py`, `python filename=plot.py`).

/// The start and the end of comments, in the languages that have file names in comments.
const COMMENTS: [(&str, &str); 9] = [
    ("<!--", "-->"),
    ("/*", "*/"),
    ("(*", "*)"),
    ("{-", "-}"),
    ("//", ""),
    ("--", ""),
    ("#", ""),
    (";", ""),
    ("%", ""),
];

/// Returns the file name in a comment, as it was written: in the first line of `code` that is not
/// blank, or in the line after a `#!` line.
///
/// The word `filename:` is required, so `# Load the data` is no name. A name with a blank must end
/// with an extension, so `# filename: the file to read` is none either.
pub fn from_comment(code: &str) -> Option<&str> {
    let mut lines = code.lines().map(str::trim).skip_while(|line| line.is_empty());
    let mut line = lines.next()?;
    if line.starts_with("#!") {
        line = lines.next()?;
    }
    COMMENTS.iter().find_map(|(start, end)| {
        let comment = line.strip_prefix(start)?;
        // The end can be missing: a long comment continues in the next line.
        let comment = comment.strip_suffix(end).unwrap_or(comment);
        let comment = comment.trim_start_matches(|c: char| c.is_whitespace() || start.ends_with(c));
        let key = comment.get(..KEY.len())?;
        key.eq_ignore_ascii_case(KEY).then(|| name_in(&comment[KEY.len()..])).flatten()
    })
}

/// The word before a name in a comment.
const KEY: &str = "filename:";

/// Returns the name at the beginning of the text after `filename:`.
fn name_in(text: &str) -> Option<&str> {
    let text = text.trim();
    for quote in ['"', '\'', '`'] {
        if let Some((name, _)) = text.strip_prefix(quote).and_then(|rest| rest.split_once(quote)) {
            return Some(name);
        }
    }
    let first_word = text.split_whitespace().next()?;
    if first_word == text || has_extension(text) {
        Some(text)
    } else {
        has_extension(first_word).then_some(first_word)
    }
}

/// True if a text can only be a file name: it has a directory, or an extension that starts with a
/// letter.
pub fn looks_like_filename(text: &str) -> bool {
    !text.is_empty()
        && !text.contains(char::is_whitespace)
        && !text.contains("://")
        && (text.contains(['/', '\\']) || has_extension(text))
}

/// True if the last component of a path has an extension: letters and digits, a letter first.
fn has_extension(path: &str) -> bool {
    extension(path).is_some_and(|extension| {
        extension.len() <= 10
            && extension.starts_with(|c: char| c.is_ascii_alphabetic())
            && extension.chars().all(|c| c.is_ascii_alphanumeric())
    })
}

/// Returns the text after the last dot of a path's last component; `None` for `.profile` and
/// `Makefile`.
pub fn extension(path: &str) -> Option<&str> {
    let name = path.rsplit(['/', '\\']).next()?;
    let (stem, extension) = name.rsplit_once('.')?;
    (!stem.is_empty()).then_some(extension)
}
