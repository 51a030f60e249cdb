//! The gates of a workspace: [`workspace_path`] checks every path into it, [`artifact_path`] every
//! path out of it.

mod obeyed;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use obeyed::obeyed_by;

use crate::result::RefusedFile;

/// The maximum length of a path's component, in bytes: `NAME_MAX` of Linux.
const MAX_COMPONENT: usize = 255;

/// The maximum length of a path, in bytes: `PATH_MAX` of Linux.
const MAX_PATH: usize = 4096;

/// The number of characters that are kept of a refused path.
const MAX_SHOWN_CHARS: usize = 200;

/// A path that must not be used in a workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("file name {path:?} {fault}")]
pub struct PathRefused {
    /// The path as it was written, shortened to 200 characters.
    pub path: String,
    /// Its fault.
    pub fault: PathFault,
}

/// The fault of a path.
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
    /// It has a `\`, which some systems treat as a separator.
    Backslash,
    /// It has a control character, a line separator, or a character that reorders text on the
    /// screen.
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

/// Checks and normalises the path of a file in a workspace: relative, components separated by one
/// `/`, none of them `.` or `..`.
///
/// # Errors
/// [`PathRefused`] for a path that is not inside every workspace.
pub fn workspace_path(path: &str) -> Result<String, PathRefused> {
    let refused = |fault| PathRefused { path: path.chars().take(MAX_SHOWN_CHARS).collect(), fault };
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
/// Programs may use any name that their file system allows. An artifact leaves the session, so its
/// path must name a file in every workspace ([`workspace_path`]), and no tool of the host may obey
/// it just because it exists, as git obeys `.git/config` or a directory with a file `HEAD`. All
/// executors return files through this gate, so a name decides only if its file is an artifact.
///
/// ```
/// use cellblock_exec::workspace::artifact_path;
/// assert_eq!(artifact_path(b"charts/a:b.png").as_deref(), Ok("charts/a:b.png"));
/// assert!(artifact_path(b"a\\b").unwrap_err().reason.contains("backslash"));
/// assert_eq!(artifact_path(b"sub/.git/config").unwrap_err().path, "sub/.git");
/// ```
///
/// # Errors
/// The file to report, with the reason and what to rename. For files of a version control system it
/// is their directory, which needs to be reported only once.
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

/// Returns the reason to refuse a file with such a name.
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

/// True for characters that make a path look like another one in a log or a terminal: controls,
/// line and paragraph separators, and the bidirectional embeddings, overrides and isolates of
/// Unicode (UAX #9).
fn is_disguise(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
