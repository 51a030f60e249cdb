//! A snapshot: a memory image on disk, for an image of the cache or a frozen session.

use std::{
    fs::{self, File},
    path::Path,
    sync::Arc,
};

use cellblock_cache::storage_error;
use cellblock_exec::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::{
    fs::{Fs, Layer},
    memory::{MemoryImage, RestGlobal, write_sparse},
};

const MEMORY: &str = "memory.img";
const STATE: &str = "state.postcard";

/// An image without its memory.
#[derive(Serialize, Deserialize)]
struct SnapshotState {
    /// The name of the guest object, whose code is the only one that fits this memory.
    guest: String,
    globals: Vec<RestGlobal>,
    fs: Fs,
}

/// Writes a guest at rest into `directory`.
pub fn write(
    directory: &Path,
    guest: &str,
    memory: &[u8],
    globals: &[RestGlobal],
    fs: &Fs,
) -> Result<()> {
    let path = directory.join(MEMORY);
    File::create_new(&path)
        .and_then(|mut file| write_sparse(&mut file, memory))
        .map_err(|source| storage_error("write", &path, source))?;
    let path = directory.join(STATE);
    let state =
        SnapshotState { guest: guest.to_owned(), globals: globals.to_vec(), fs: fs.clone() };
    let bytes = postcard::to_allocvec(&state)
        .map_err(|error| storage_error("write", &path, std::io::Error::other(error)))?;
    fs::write(&path, bytes).map_err(|source| storage_error("write", &path, source))
}

/// Reads a snapshot that [`write()`] made of the guest `guest`. `layer` returns the mounted layers
/// by their keys.
pub fn read(
    directory: &Path,
    guest: &str,
    mut layer: impl FnMut(&str) -> Result<Arc<Layer>>,
) -> Result<MemoryImage> {
    let path = directory.join(STATE);
    let bytes = fs::read(&path).map_err(|source| storage_error("read", &path, source))?;
    let mut state: SnapshotState = postcard::from_bytes(&bytes)
        .map_err(|error| storage_error("parse", &path, std::io::Error::other(error)))?;
    if state.guest != guest {
        let why = format!("it was made with the guest {}, this executor runs {guest}", state.guest);
        return Err(Error::Invalid { what: "frozen session", why });
    }
    for mount in &mut state.fs.mounts {
        mount.layer = Some(layer(&mount.key)?);
    }
    let path = directory.join(MEMORY);
    let open = || {
        let file = File::open(&path)?;
        let len = file.metadata()?.len() as usize;
        MemoryImage::new(file, len, state.globals.into(), state.fs)
    };
    open().map_err(|source| storage_error("read", &path, source))
}
