//! What can be told of an image without using it.

use cellblock_cache::{Objects, Rehash};

/// What is known of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageInfo {
    /// Its name, as `--image` takes it.
    pub name: String,
    /// Whether it can be used.
    pub state: ImageState,
    /// What it takes on disk, in bytes.
    pub bytes: u64,
    /// The packages in it: names and versions. Empty when it is not here.
    pub packages: Vec<(String, String)>,
    /// The version of Python in it.
    pub python: String,
}

/// Whether an image can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ImageState {
    /// It is here and sound.
    Ready,
    /// It has not been pulled, or not to the end; it will be on first use.
    Available,
    /// A part of it is damaged; it will be made again on next use.
    Corrupt {
        /// What is wrong.
        why: String,
    },
}

impl ImageState {
    /// The state of an image that needs all these objects.
    pub(super) fn of(objects: &Objects, ids: &[&String], rehash: Rehash) -> Self {
        let mut state = Self::Ready;
        for id in ids {
            match objects.check(id, rehash) {
                Ok(true) => {}
                Ok(false) => state = Self::Available,
                Err(error) => return Self::Corrupt { why: cellblock_exec::with_causes(&error) },
            }
        }
        state
    }
}
