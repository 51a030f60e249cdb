//! The cache directory: immutable objects, each a directory named by what it was made from.
//!
//! An object is made in a temporary directory and put in place by one rename, so a reader sees all of it or nothing, and an
//! interrupted build leaves nothing. A lock file per object keeps two processes from doing the same work. Each object has
//! an index with the hash of every file.
//!
//! Careing a hash means reading hundreds of megabytes, so it is done when an object is made, on request
//! (`cellblock image verify`), and whenever a file's size, inode, modification or change time is not what it was when
//! its hash was last checked. Only the user can write here (0700).

#[cfg(test)]
mod tests;

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use cellblock_exec::{Error, Result};

use crate::{
    index::{INDEX, Index, Use, seal},
    temporary::{Temporary, sweep},
};

/// The directories of a cache.
const DIRECTORIES: [&str; 3] = ["objects", "locks", "tmp"];

/// A cache directory.
#[derive(Debug, Clone)]
pub struct Objects {
    /// Where it is.
    pub root: PathBuf,
}

/// How carefully to look at an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Care {
    /// Hash what seems touched.
    Stamps,
    /// Hash everything.
    Hashes,
}

impl Objects {
    /// The cache at `root`, made (0700) if it is not there.
    ///
    /// What is in it is the user's alone. A `root` that was there before may be anything, such as a home directory: only
    /// others' right to replace what is in it is taken away. What killed processes left unfinished is removed.
    ///
    /// # Errors
    /// [`Error::Storage`] when it cannot be made or is not the user's own.
    pub fn at(root: PathBuf) -> Result<Self> {
        let root = std::path::absolute(&root).map_err(|source| storage("find", &root, source))?;
        let own = DIRECTORIES.map(|directory| root.join(directory));
        for directory in &own {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
            made.map_err(|source| storage("create", directory, source))?;
        }
        let sticky = 0o1000;
        let mode = mode_of_own(&root)?;
        if mode & 0o022 != 0 && mode & sticky == 0 {
            protect(&root, mode & !0o022)?;
        }
        for directory in &own {
            if mode_of_own(directory)? & 0o077 != 0 {
                protect(directory, 0o700)?;
            }
        }
        sweep(&root.join("tmp"));
        Ok(Self { root })
    }

    /// Where the object `id` is, whether or not it is there.
    pub fn path(&self, id: &str) -> PathBuf {
        self.root.join("objects").join(id)
    }

    /// Looks whether the object `id` is there and sound. `Ok(false)`: it is not there.
    ///
    /// # Errors
    /// [`Error::Storage`] when it is damaged or cannot be read.
    pub fn check(&self, id: &str, care: Care) -> Result<bool> {
        let path = self.path(id);
        if !path.exists() {
            return Ok(false);
        }
        let mut index = Index::read(&path)?;
        if index.check(&path, care)? {
            // Only saves hashing it again next time.
            let _ = self.temporary().map(|temporary| {
                let new = temporary.path().join(INDEX);
                index.write(&new).and_then(|()| fs::rename(&new, path.join(INDEX)))
            });
        }
        Ok(true)
    }

    /// The directory of the object `id`, which is made by `make` if it is not there or damaged. `make` gets an empty
    /// directory to fill. The files can be read by the user alone.
    ///
    /// # Errors
    /// [`Error::Storage`] when the cache cannot be read or written; otherwise those of `make`.
    pub async fn get_or_make<F>(&self, id: &str, make: F) -> Result<PathBuf>
    where
        F: AsyncFnOnce(&Path) -> Result<()>,
    {
        self.get_or_make_for(Use::Private, id, make).await
    }

    /// As [`Objects::get_or_make`], for files that programs in sandboxes are to read: all may read them and none may write
    /// them, and links to them may be made ([`Objects::link_into`]).
    ///
    /// # Errors
    /// As [`Objects::get_or_make`].
    pub async fn get_or_make_shared<F>(&self, id: &str, make: F) -> Result<PathBuf>
    where
        F: AsyncFnOnce(&Path) -> Result<()>,
    {
        self.get_or_make_for(Use::Shared, id, make).await
    }

    async fn get_or_make_for<F>(&self, use_of: Use, id: &str, make: F) -> Result<PathBuf>
    where
        F: AsyncFnOnce(&Path) -> Result<()>,
    {
        let path = self.path(id);
        if matches!(self.check(id, Care::Stamps), Ok(true)) {
            return Ok(path);
        }
        let _lock = self.lock(id).await?;
        // Another process may have made it while this one waited.
        match self.check(id, Care::Stamps) {
            Ok(true) => return Ok(path),
            Ok(false) => {}
            Err(_) => drop(self.take_away(id)?),
        }
        let directory = self.begin(id)?;
        make(directory.path()).await?;
        let filled = directory.path().to_owned();
        let sealed = tokio::task::spawn_blocking(move || seal(&filled, use_of)).await;
        sealed
            .unwrap_or_else(|error| Err(io::Error::other(error)))
            .map_err(|source| storage("write", &path, source))?;
        fs::rename(directory.path(), &path).map_err(|source| storage("write", &path, source))?;
        // It is where it belongs; there is nothing left to remove.
        let _ = directory.keep();
        Ok(path)
    }

    /// Removes the object `id`, unless it is held ([`Objects::hold`]); gives the bytes freed.
    ///
    /// # Errors
    /// [`Error::Storage`] when it cannot be removed.
    pub fn remove(&self, id: &str) -> Result<u64> {
        match self.unused(id).map_err(|source| storage("lock", &self.path(id), source))? {
            Some(_unused) => self.take_away(id),
            None => Ok(0),
        }
    }

    fn take_away(&self, id: &str) -> Result<u64> {
        let path = self.path(id);
        let bytes = size(&path);
        let gone = self.temporary()?;
        // Out of sight first, so that nobody finds half of it.
        match fs::rename(&path, gone.path().join("removed")) {
            Ok(()) => Ok(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(source) => Err(storage("remove", &path, source)),
        }
    }

    /// The names of all objects.
    ///
    /// # Errors
    /// [`Error::Storage`] when the cache cannot be read.
    pub fn ids(&self) -> Result<Vec<String>> {
        let path = self.root.join("objects");
        let entries = fs::read_dir(&path).map_err(|source| storage("read", &path, source))?;
        Ok(entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect())
    }

    /// The size of an object in bytes; 0 if it is not there.
    pub fn size(&self, id: &str) -> u64 {
        size(&self.path(id))
    }

    /// A directory for unfinished work, or for a session: it is removed when it is dropped. That of a killed process is
    /// removed when the cache is next opened.
    ///
    /// # Errors
    /// [`Error::Storage`] when it cannot be made.
    pub fn temporary(&self) -> Result<Temporary> {
        let path = self.root.join("tmp");
        Temporary::new(&path, None).map_err(|source| storage("write in", &path, source))
    }

    /// The directory in which the object `id` is made, emptied of what a killed process left there. The caller holds the
    /// object's lock.
    fn begin(&self, id: &str) -> Result<Temporary> {
        let parent = self.root.join("tmp");
        let path = parent.join(id);
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(storage("remove", &path, error));
            }
            _ => {}
        }
        Temporary::new(&parent, Some(id)).map_err(|source| storage("create", &path, source))
    }

    /// Waits for the lock of `id`; it is held until the file is dropped, or the process ends.
    pub(crate) async fn lock(&self, id: &str) -> Result<File> {
        let path = self.root.join("locks").join(format!("{id}.lock"));
        let failed = |source| storage("lock", &path, source);
        let file =
            OpenOptions::new().create(true).append(true).mode(0o600).open(&path).map_err(failed)?;
        tokio::task::spawn_blocking(move || file.lock().map(|()| file))
            .await
            .map_err(|error| failed(io::Error::other(error)))?
            .map_err(failed)
    }
}

/// The permissions of a directory that has to be the user's own.
fn mode_of_own(directory: &Path) -> Result<u32> {
    let metadata = fs::metadata(directory).map_err(|source| storage("read", directory, source))?;
    if metadata.uid() != nix::unistd::geteuid().as_raw() {
        let why = io::Error::other("it belongs to another user, who could replace code in it");
        return Err(storage("use", directory, why));
    }
    Ok(metadata.permissions().mode())
}

fn protect(directory: &Path, mode: u32) -> Result<()> {
    fs::set_permissions(directory, fs::Permissions::from_mode(mode))
        .map_err(|source| storage("protect", directory, source))
}

/// The error for a file of ours: what was tried, as a verb, with which file, and what came of it.
pub fn storage(doing: &'static str, path: &Path, source: io::Error) -> Error {
    Error::Storage { doing, path: path.display().to_string(), source: source.into() }
}

/// An object's name: its kind, and a hash of all that it is made from.
pub fn object_id(kind: &str, made_from: &[&[u8]]) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in made_from {
        // With lengths, so that no two lists run together to the same bytes.
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    format!("{kind}-{}", &hasher.finalize().to_hex()[..32])
}

fn size(directory: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(directory) else { return 0 };
    let size_of = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => size(&entry.path()),
        // Blocks, not lengths: memory images have holes.
        Ok(metadata) => metadata.blocks() * 512,
        Err(_) => 0,
    };
    entries.flatten().map(size_of).sum()
}
