//! The cache directory: immutable objects, each a directory named by what it was made from.
//!
//! An object is made in a temporary directory and put in its place by one rename, so a reader sees
//! all of it or nothing, and an interrupted build leaves nothing. A lock file for each object keeps
//! two processes from doing the same work. An [index](crate::index) with the hash of every file
//! shows damage. Only the user can write to the cache (0700).

#[cfg(test)]
mod tests;

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

#[cfg(doc)]
use cellblock_exec::Error;
use cellblock_exec::Result;
use serde::Serialize;

use crate::{
    error::storage_error,
    index::{INDEX, Index, Rehash, Sharing, seal},
    temporary::{TemporaryDirectory, sweep},
};

/// The directories of a cache: the objects, the locks, and unfinished work.
const DIRECTORIES: [&str; 3] = ["objects", "locks", "tmp"];

/// A cache directory.
#[derive(Debug, Clone)]
pub struct Objects {
    /// The absolute path of the directory.
    pub root: PathBuf,
}

/// An object in use. It stays in the cache while this value lives and its process runs.
#[derive(Debug)]
pub struct HeldObject {
    /// The object's directory.
    pub directory: PathBuf,
    /// Locked by all who hold the object.
    _shared: File,
}

/// A lock that only one process holds, until this value is dropped or the process ends.
#[derive(Debug)]
pub struct ObjectLock(#[expect(dead_code, reason = "the open file is the lock")] File);

impl Objects {
    /// Opens the cache at `root`; creates it (0700) if it does not exist, and removes what killed
    /// processes left unfinished.
    ///
    /// The cache's own directories are the user's alone. `root` itself, if it exists, can be any
    /// directory, such as the user's home: others only lose the right to replace its entries.
    ///
    /// # Errors
    /// [`Error::Storage`] when it cannot be created or does not belong to the user.
    pub fn open(root: PathBuf) -> Result<Self> {
        let root =
            std::path::absolute(&root).map_err(|source| storage_error("find", &root, source))?;
        let own = DIRECTORIES.map(|directory| root.join(directory));
        for directory in &own {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
            made.map_err(|source| storage_error("create", directory, source))?;
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

    /// Returns the directory of the object `id`, which need not exist.
    pub fn path(&self, id: &str) -> PathBuf {
        self.root.join("objects").join(id)
    }

    /// Checks the object `id` against its index. Returns false if the object does not exist.
    ///
    /// # Errors
    /// [`Error::Storage`] when it is damaged or cannot be read.
    pub fn check(&self, id: &str, rehash: Rehash) -> Result<bool> {
        let path = self.path(id);
        if !path.exists() {
            return Ok(false);
        }
        let mut index = Index::read(&path)?;
        if index.check(&path, rehash)? {
            // Saves the next check from hashing again; nothing is lost if it fails.
            let _ = self.temporary().map(|temporary| {
                let new = temporary.path().join(INDEX);
                index.write(&new).and_then(|()| fs::rename(&new, path.join(INDEX)))
            });
        }
        Ok(true)
    }

    /// Returns the directory of the object `id`. If the object does not exist or is damaged, `make`
    /// fills an empty directory that becomes the object. Only the user can read its files.
    ///
    /// # Errors
    /// [`Error::Storage`] when the cache cannot be read or written; otherwise the errors of `make`.
    pub async fn get_or_make<F>(&self, id: &str, make: F) -> Result<PathBuf>
    where
        F: AsyncFnOnce(&Path) -> Result<()>,
    {
        self.get_or_make_for(Sharing::Private, id, make).await
    }

    /// Returns the directory of an object like [`Objects::get_or_make`], with files for programs in
    /// sandboxes: all may read them, none may write them, and [`Objects::link_into`] makes links to
    /// them.
    ///
    /// # Errors
    /// As [`Objects::get_or_make`].
    pub async fn get_or_make_shared<F>(&self, id: &str, make: F) -> Result<PathBuf>
    where
        F: AsyncFnOnce(&Path) -> Result<()>,
    {
        self.get_or_make_for(Sharing::Shared, id, make).await
    }

    async fn get_or_make_for<F>(&self, sharing: Sharing, id: &str, make: F) -> Result<PathBuf>
    where
        F: AsyncFnOnce(&Path) -> Result<()>,
    {
        let path = self.path(id);
        if matches!(self.check(id, Rehash::Touched), Ok(true)) {
            return Ok(path);
        }
        let _lock = self.lock(id).await?;
        // Another process may have made it while this one waited.
        match self.check(id, Rehash::Touched) {
            Ok(true) => return Ok(path),
            Ok(false) => {}
            Err(_) => drop(self.discard(id)?),
        }
        let directory = self.begin(id)?;
        make(directory.path()).await?;
        let filled = directory.path().to_owned();
        let sealed = tokio::task::spawn_blocking(move || seal(&filled, sharing)).await;
        sealed
            .unwrap_or_else(|error| Err(io::Error::other(error)))
            .map_err(|source| storage_error("write", &path, source))?;
        fs::rename(directory.path(), &path)
            .map_err(|source| storage_error("write", &path, source))?;
        let _ = directory.keep();
        Ok(path)
    }

    /// Keeps the object `id` from being removed, so that a session can use its directory, mounted
    /// read-only or under a Landlock rule. For a large object this is ten times faster than
    /// [`Objects::link_into`].
    ///
    /// # Errors
    /// [`Error::Storage`] when the object does not exist.
    pub fn hold(&self, id: &str) -> Result<HeldObject> {
        let (directory, lock) = (self.path(id), self.use_lock(id));
        let hold = || {
            let shared = OpenOptions::new().create(true).append(true).mode(0o600).open(&lock)?;
            shared.lock_shared()?;
            // It may have been removed before it was locked.
            fs::metadata(&directory).map(|_| shared)
        };
        let shared = hold().map_err(|source| storage_error("use", &directory, source))?;
        Ok(HeldObject { directory: directory.clone(), _shared: shared })
    }

    /// Removes the object `id`, unless it is held ([`Objects::hold`]). Returns the number of bytes
    /// freed.
    ///
    /// # Errors
    /// [`Error::Storage`] when it cannot be removed.
    pub fn remove(&self, id: &str) -> Result<u64> {
        let locked = self.lock_unheld(id);
        match locked.map_err(|source| storage_error("lock", &self.path(id), source))? {
            // The lock is held until the object is gone.
            Unheld::Locked(_) | Unheld::NeverHeld => self.discard(id),
            Unheld::InUse => Ok(0),
        }
    }

    fn discard(&self, id: &str) -> Result<u64> {
        let path = self.path(id);
        let bytes = size(&path);
        let removed = self.temporary()?;
        // Moved away first, so that no reader finds half of it.
        match fs::rename(&path, removed.path().join("removed")) {
            Ok(()) => Ok(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(source) => Err(storage_error("remove", &path, source)),
        }
    }

    /// Locks the object `id` against [`Objects::hold`], unless it is held now.
    fn lock_unheld(&self, id: &str) -> io::Result<Unheld> {
        let file = match File::open(self.use_lock(id)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Unheld::NeverHeld),
            Err(error) => return Err(error),
        };
        match file.try_lock() {
            Ok(()) => Ok(Unheld::Locked(file)),
            Err(TryLockError::WouldBlock) => Ok(Unheld::InUse),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn use_lock(&self, id: &str) -> PathBuf {
        self.root.join("locks").join(format!("{id}.use"))
    }

    /// Returns the names of all objects.
    ///
    /// # Errors
    /// [`Error::Storage`] when the cache cannot be read.
    pub fn ids(&self) -> Result<Vec<String>> {
        let path = self.root.join("objects");
        let entries = fs::read_dir(&path).map_err(|source| storage_error("read", &path, source))?;
        Ok(entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect())
    }

    /// Returns the size of an object on disk in bytes; 0 if it does not exist.
    pub fn size(&self, id: &str) -> u64 {
        size(&self.path(id))
    }

    /// Creates a directory for unfinished work or for a session.
    ///
    /// # Errors
    /// [`Error::Storage`] when it cannot be created.
    pub fn temporary(&self) -> Result<TemporaryDirectory> {
        let path = self.root.join("tmp");
        TemporaryDirectory::new(&path, None)
            .map_err(|source| storage_error("write in", &path, source))
    }

    /// Writes a value as JSON to the file `path` on the cache's file system. Its directory is
    /// created if needed. Readers see the old file or all of the new one.
    ///
    /// # Errors
    /// [`Error::Storage`] when it cannot be written.
    pub fn write_json(&self, path: &Path, value: &impl Serialize) -> Result<()> {
        let text = serde_json::to_vec_pretty(value)
            .map_err(|source| storage_error("write", path, source.into()))?;
        let temporary = self.temporary()?;
        let new = temporary.path().join("file");
        let write = || {
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            let mut file = File::create(&new)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&new, path)
        };
        write().map_err(|source| storage_error("write", path, source))
    }

    /// Waits for the lock called `name`. Two names never share a lock.
    ///
    /// # Errors
    /// [`Error::Storage`] when the lock's file cannot be opened.
    pub async fn lock(&self, name: &str) -> Result<ObjectLock> {
        let path = self.root.join("locks").join(format!("{name}.lock"));
        let failed = |source| storage_error("lock", &path, source);
        let file =
            OpenOptions::new().create(true).append(true).mode(0o600).open(&path).map_err(failed)?;
        tokio::task::spawn_blocking(move || file.lock().map(|()| ObjectLock(file)))
            .await
            .map_err(|error| failed(io::Error::other(error)))?
            .map_err(failed)
    }

    /// Creates the directory in which the object `id` is made, without what a killed process left
    /// there. The caller holds the object's lock.
    fn begin(&self, id: &str) -> Result<TemporaryDirectory> {
        let parent = self.root.join("tmp");
        let path = parent.join(id);
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(storage_error("remove", &path, error));
            }
            _ => {}
        }
        TemporaryDirectory::new(&parent, Some(id))
            .map_err(|source| storage_error("create", &path, source))
    }
}

/// The result of locking an object against being held.
enum Unheld {
    /// The lock; the object cannot be held while this value lives.
    Locked(#[expect(dead_code, reason = "the open file is the lock")] File),
    /// No process has ever held the object, so it has no lock yet.
    NeverHeld,
    /// The object is held now.
    InUse,
}

/// Returns the permissions of a directory that has to belong to the user.
fn mode_of_own(directory: &Path) -> Result<u32> {
    let metadata =
        fs::metadata(directory).map_err(|source| storage_error("read", directory, source))?;
    if metadata.uid() != nix::unistd::geteuid().as_raw() {
        let why = io::Error::other("it belongs to another user, who could replace code in it");
        return Err(storage_error("use", directory, why));
    }
    Ok(metadata.permissions().mode())
}

fn protect(directory: &Path, mode: u32) -> Result<()> {
    fs::set_permissions(directory, fs::Permissions::from_mode(mode))
        .map_err(|source| storage_error("protect", directory, source))
}

/// Returns an object's name: its kind, and a hash (BLAKE3, 128 bits) of everything it is made from.
pub fn object_id(kind: &str, made_from: &[&[u8]]) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in made_from {
        // With lengths, so that no two lists give the same bytes.
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
