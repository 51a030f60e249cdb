//! Metadata that shows, without reading a file, that it is unchanged.

use std::{fs::Metadata, os::unix::fs::MetadataExt};

use serde::{Deserialize, Serialize};

/// A file's metadata at the time its content was last known. A file with an equal stamp is taken to
/// be unchanged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// The length in bytes.
    pub bytes: u64,
    /// The inode number.
    pub inode: u64,
    /// The modification time: seconds and nanoseconds since the epoch.
    pub modified: (i64, i64),
    /// The change time, likewise, which programs cannot set back. `None` for a file that is linked
    /// to from elsewhere: each new link changes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<(i64, i64)>,
}

impl Stamp {
    /// Returns the stamp of a file that only we link to.
    pub fn new(metadata: &Metadata) -> Self {
        let changed = Some((metadata.ctime(), metadata.ctime_nsec()));
        Self { changed, ..Self::without_change_time(metadata) }
    }

    /// Returns the stamp of a file that links are made to.
    pub fn without_change_time(metadata: &Metadata) -> Self {
        Self {
            bytes: metadata.len(),
            inode: metadata.ino(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: None,
        }
    }
}
