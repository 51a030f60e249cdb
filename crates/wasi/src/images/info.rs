//! The description of an image.

use cellblock_cache::{Objects, Rehash};

/// An image of the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageInfo {
    /// The name, as in `--image`.
    pub name: String,
    /// The state of its files.
    pub state: ImageState,
    /// The size on disk, in bytes.
    pub bytes: u64,
    /// The names and versions of its packages. Empty if it is not in the cache.
    pub packages: Vec<(String, String)>,
    /// The version of its Python.
    pub python: String,
}

/// The state of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ImageState {
    /// It is in the cache and undamaged.
    Ready,
    /// It has not been pulled completely; its first use pulls it.
    Available,
    /// A part of it is damaged; its next use makes that part again.
    Corrupt {
        /// The damage.
        why: String,
    },
}

impl ImageState {
    /// Returns the state of an image that needs all these objects.
    pub fn of(objects: &Objects, ids: &[&String], rehash: Rehash) -> Self {
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
