//! The error of everything that reads or writes the cache.

use std::{io, path::Path};

use cellblock_exec::Error;

/// Returns the error for a file or directory of ours. `doing` is the verb that failed, such as
/// `read`: the message says "cannot read" and the path.
pub fn storage_error(doing: &'static str, path: &Path, source: io::Error) -> Error {
    Error::Storage { doing, path: path.display().to_string(), source: source.into() }
}
