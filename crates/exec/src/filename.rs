//! File names that an answer gives to its blocks, and paths into a workspace.
//!
//! A name comes from a comment in the block's first line (`# filename: plot.py`) or from the info
//! string of its fence (`python:plot.py`, `python filename=plot.py`). [`workspace_path`] is the
//! gate that every path into a workspace goes through, and [`artifact_path`] the one for every path
//! out of it.

mod obeyed;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use obeyed::obeyed_by;

use crate::result::RefusedFile;

/// The longest component of a path, in bytes: `NAME_MAX` of Linux.
const MAX_COMPONENT: usize = 255;

/// The longest path, in bytes: `PATH_MAX` of Linux.
const MAX_PATH: usize = 4096;

/// How much of a refused path is kept, in characters.
const SHOWN: usize = 200;

/// A path that must not be used in a workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("file name {path:?} {fault}")]
pub struct PathRefused {
    /// The path as it was written, shortened to 200 characters.
    pub path: String,
    /// What is wrong with it.
    pub fault: PathFault,
}

/// What is wrong with a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PathFault {
    /// It names nothing, as the empty path and `.` do.
    Empty,
    /// It starts with `/`, or with a drive as in `C:/`.
    Absolute,
    /// It has a component `..`. So has `a/../b`: `a` may be a link to elsewhere.
    LeavesWorkspace,
    /// It ends with `/`.
    Directory,
    /// It has a `\`, which some systems take for a separator.
    Backslash,
    /// It has a control character, a line separator, or a character that reorders text on the screen.
    ControlCharacter,
    /// It is longer than 4,096 bytes, or a component of it is longer than 255.
    TooLong,
}

impl fmt::Display for PathFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PathFault::Empty => "names no file",
            PathFault::Absolute => "is absolute; write it relative to the workspace",
            PathFault::LeavesWorkspace => "leaves the workspace; write it without `..`",
            PathFault::Directory => "names a directory",
            PathFault::Backslash => "has a backslash; write `/` between directories",
            PathFault::ControlCharacter => "has a control character",
            PathFault::TooLong => "is too long",
        })
    }
}

/// Checks and normalises the path of a file in a workspace: relative, components separated by one `/`, none of them
/// `.` or `..`.
///
/// # Errors
/// [`PathRefused`] for a path that is not inside every workspace.
pub fn workspace_path(path: &str) -> Result<String, PathRefused> {
    let refused = |fault| PathRefused { path: path.chars().take(SHOWN).collect(), fault };
    // `a:b.csv` is an ordinary name; only what follows the colon makes it a path on a drive.
    let has_drive = |path: &str| {
        let bytes = path.as_bytes();
        matches!(bytes, [letter, b':', b'/' | b'\\', ..] if letter.is_ascii_alphabetic())
    };
    if path.starts_with('/') || has_drive(path) {
        return Err(refused(PathFault::Absolute));
    }
    if path.chars().any(is_disguise) {
        return Err(refused(PathFault::ControlCharacter));
    }
    if path.contains('\\') {
        return Err(refused(PathFault::Backslash));
    }
    if path.len() > MAX_PATH {
        return Err(refused(PathFault::TooLong));
    }
    let components = || path.split('/').filter(|component| !matches!(*component, "" | "."));
    if components().any(|component| component == "..") {
        return Err(refused(PathFault::LeavesWorkspace));
    }
    if components().any(|component| component.len() > MAX_COMPONENT) {
        return Err(refused(PathFault::TooLong));
    }
    let normal = components().collect::<Vec<_>>().join("/");
    if normal.is_empty() {
        return Err(refused(PathFault::Empty));
    }
    if has_drive(&normal) {
        return Err(refused(PathFault::Absolute));
    }
    if path.ends_with('/') || path.ends_with("/.") {
        return Err(refused(PathFault::Directory));
    }
    Ok(normal)
}

/// Checks the path of a file that a program made, before the file becomes an artifact.
///
/// Programs may use any name that their file system takes. An artifact leaves the session: its path
/// must name a file in every workspace ([`workspace_path`]), and no tool of the host may obey it
/// just because it is there, as git obeys `.git/config` or a directory with a file `HEAD`. All
/// executors hand out files through this gate, so that a name decides nothing but whether its file
/// is taken.
///
/// ```
/// use cellblock_exec::filename::artifact_path;
/// assert_eq!(artifact_path(b"charts/a:b.png").as_deref(), Ok("charts/a:b.png"));
/// assert!(artifact_path(b"a\\b").unwrap_err().reason.contains("backslash"));
/// assert_eq!(artifact_path(b"sub/.git/config").unwrap_err().path, "sub/.git");
/// ```
///
/// # Errors
/// The file as it is to be reported, with the reason and what to rename. Of files of a version
/// control system it is the directory, which needs to be reported only once.
pub fn artifact_path(name: &[u8]) -> Result<String, RefusedFile> {
    let refused = |reason: &str| {
        let path = String::from_utf8_lossy(&name[..name.len().min(MAX_PATH)]).into_owned();
        RefusedFile { path, reason: reason.to_owned() }
    };
    let Ok(path) = std::str::from_utf8(name) else {
        return Err(refused("its name is not UTF-8; rename it"));
    };
    let normal = workspace_path(path).map_err(|why| refused(what_to_rename(why.fault)))?;
    if normal != path {
        return Err(refused(what_to_rename(PathFault::LeavesWorkspace)));
    }
    match obeyed::refusal(path) {
        Some((part, reason)) => Err(RefusedFile { path: part.to_owned(), reason }),
        None => Ok(normal),
    }
}

/// The reason why a file with such a name is not taken.
fn what_to_rename(fault: PathFault) -> &'static str {
    match fault {
        PathFault::Absolute => {
            "its name is an absolute path; rename it, without a drive such as `C:`"
        }
        PathFault::Backslash => "its name has a backslash; rename it, with `/` between directories",
        PathFault::ControlCharacter => {
            "its name has a control character, or one that reorders text; rename it"
        }
        PathFault::TooLong => "its path is too long; shorten its name or those of its directories",
        PathFault::Empty | PathFault::LeavesWorkspace | PathFault::Directory => {
            "its name is not the path of a file in the workspace"
        }
    }
}

/// Characters that make a path look like another one in a log or a terminal: controls, line and paragraph separators,
/// and the bidirectional embeddings, overrides and isolates of Unicode (UAX #9).
fn is_disguise(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// How comments start, and how they end, in the languages that people give file names in.
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

/// The file name in a comment in the first line of `code` that is not blank, or in the line after a `#!` line, as it was
/// written.
///
/// The word `filename:` is required, so that `# Load the data` is no name. A name with a blank in it must end with an
/// extension, so that `# filename: the file to read` is none either.
pub(crate) fn from_comment(code: &str) -> Option<&str> {
    let mut lines = code.lines().map(str::trim).skip_while(|line| line.is_empty());
    let mut line = lines.next()?;
    if line.starts_with("#!") {
        line = lines.next()?;
    }
    COMMENTS.iter().find_map(|(start, end)| {
        let comment = line.strip_prefix(start)?;
        // The end may be missing: a long comment goes on in the next line.
        let comment = comment.strip_suffix(end).unwrap_or(comment);
        let comment = comment.trim_start_matches(|c: char| c.is_whitespace() || start.ends_with(c));
        let key = comment.get(..KEY.len())?;
        key.eq_ignore_ascii_case(KEY).then(|| name_in(&comment[KEY.len()..])).flatten()
    })
}

/// The word before a name in a comment.
const KEY: &str = "filename:";

/// The name at the beginning of what follows `filename:`.
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

/// Whether a text can only be meant as a file name: it has a directory, or an extension that starts with a letter.
pub(crate) fn looks_like_filename(text: &str) -> bool {
    !text.is_empty()
        && !text.contains(char::is_whitespace)
        && !text.contains("://")
        && (text.contains(['/', '\\']) || has_extension(text))
}

/// Whether the last component of a path has an extension: letters and digits, a letter first.
fn has_extension(path: &str) -> bool {
    extension(path).is_some_and(|extension| {
        extension.len() <= 10
            && extension.starts_with(|c: char| c.is_ascii_alphabetic())
            && extension.chars().all(|c| c.is_ascii_alphanumeric())
    })
}

/// What follows the last dot of a path's last component; `None` for `.profile` and `Makefile`.
pub(crate) fn extension(path: &str) -> Option<&str> {
    let name = path.rsplit(['/', '\\']).next()?;
    let (stem, extension) = name.rsplit_once('.')?;
    (!stem.is_empty()).then_some(extension)
}
