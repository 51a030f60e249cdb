//! The cache directory: immutable objects, each a directory named by what it was made from.
//!
//! An object is made in a temporary directory and put in place by one rename, so a reader sees all of it or nothing and an
//! interrupted build leaves nothing but garbage in `tmp`, which the next attempt removes. A lock file per object keeps two processes from doing the same
//! work. Each object has an index with the hash of every file.
//!
//! Checking a hash means reading hundreds of megabytes, so it is done when an object is made, on request
//! (`cellblock image verify`), and whenever a file's size, inode, modification or change time is not what it was when
//! its hash was last checked. Only the user can write here (0700).

#[cfg(test)]
mod tests;

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use cellblock_exec::{Error, Result};
use serde::{Deserialize, Serialize};

/// The directories of a cache.
const DIRECTORIES: [&str; 3] = ["objects", "locks", "tmp"];
/// The name of an object's index.
const INDEX: &str = "object.json";

/// A cache directory.
#[derive(Debug, Clone)]
pub(crate) struct Objects {
    pub(super) root: PathBuf,
}

/// An object's index.
#[derive(Debug, Serialize, Deserialize)]
struct Index {
    files: Vec<IndexedFile>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct IndexedFile {
    name: String,
    blake3: String,
    /// The file as it was when its hash was last known to be right.
    stamp: Stamp,
}

/// What tells that a file is untouched, short of reading it. The change time cannot be set back by programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    bytes: u64,
    inode: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &fs::Metadata) -> Self {
        Self {
            bytes: metadata.len(),
            inode: metadata.ino(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// How carefully to look at an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Check {
    /// Hash what seems touched.
    Stamps,
    /// Hash everything.
    Hashes,
}

impl Objects {
    /// The cache at `root`, made (0700) if it is not there.
    ///
    /// What is in it is the user's alone. A `root` that was there before may be anything, such as a home directory: only
    /// others' right to replace what is in it is taken away.
    pub(crate) fn at(root: PathBuf) -> Result<Self> {
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
        Ok(Self { root })
    }

    /// Where the object `id` is, whether or not it is there.
    pub(crate) fn path(&self, id: &str) -> PathBuf {
        self.root.join("objects").join(id)
    }

    /// Looks whether the object `id` is there and sound. `Ok(false)`: it is not there.
    ///
    /// # Errors
    /// [`Error::Storage`] when it is damaged or cannot be read.
    pub(crate) fn check(&self, id: &str, check: Check) -> Result<bool> {
        let path = self.path(id);
        let index_path = path.join(INDEX);
        let text = match fs::read(&index_path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound && !path.exists() => return Ok(false),
            Err(source) => return Err(storage("read", &index_path, source)),
        };
        let mut index: Index =
            serde_json::from_slice(&text).map_err(|source| storage("understand", &index_path, source.into()))?;
        let mut restamped = false;
        for file in &mut index.files {
            let path = path.join(&file.name);
            let metadata = fs::metadata(&path).map_err(|source| storage("read", &path, source))?;
            let stamp = Stamp::of(&metadata);
            if check == Check::Hashes || stamp != file.stamp {
                let hash = hash_file(&path).map_err(|source| storage("read", &path, source))?;
                if hash != file.blake3 {
                    return Err(storage("trust", &path, io::Error::other("its content is not what was stored")));
                }
                restamped |= stamp != file.stamp;
                file.stamp = stamp;
            }
        }
        if restamped {
            // Only saves hashing it again next time.
            let _ = write_index(&self.temporary()?, &index).and_then(|index| fs::rename(index, &index_path));
        }
        Ok(true)
    }

    /// The directory of the object `id`, which is made by `make` if it is not there or damaged. `make` gets an empty
    /// directory to fill.
    pub(crate) async fn get_or_make<F>(&self, id: &str, make: F) -> Result<PathBuf>
    where
        F: AsyncFnOnce(&Path) -> Result<()>,
    {
        let path = self.path(id);
        if matches!(self.check(id, Check::Stamps), Ok(true)) {
            return Ok(path);
        }
        let _lock = self.lock(id).await?;
        // Another process may have made it while this one waited.
        match self.check(id, Check::Stamps) {
            Ok(true) => return Ok(path),
            Ok(false) => {}
            Err(_) => drop(self.remove(id)?),
        }
        let directory = self.begin(id)?;
        make(directory.path()).await?;
        seal(directory.path()).map_err(|source| storage("write", &path, source))?;
        fs::rename(directory.path(), &path).map_err(|source| storage("write", &path, source))?;
        // It is where it belongs; there is nothing left to remove.
        let _ = directory.keep();
        Ok(path)
    }

    /// Removes the object `id`; gives its size in bytes.
    pub(crate) fn remove(&self, id: &str) -> Result<u64> {
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
    pub(crate) fn ids(&self) -> Result<Vec<String>> {
        let path = self.root.join("objects");
        let entries = fs::read_dir(&path).map_err(|source| storage("read", &path, source))?;
        Ok(entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect())
    }

    /// The size of an object in bytes; 0 if it is not there.
    pub(crate) fn size(&self, id: &str) -> u64 {
        size(&self.path(id))
    }

    /// A directory for unfinished work, removed when it is dropped.
    pub(crate) fn temporary(&self) -> Result<tempfile::TempDir> {
        let path = self.root.join("tmp");
        tempfile::TempDir::new_in(&path).map_err(|source| storage("write in", &path, source))
    }

    /// The directory in which the object `id` is made, emptied of what a killed process left there. The caller holds the
    /// object's lock.
    fn begin(&self, id: &str) -> Result<tempfile::TempDir> {
        let path = self.root.join("tmp").join(id);
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(storage("remove", &path, error)),
            _ => {}
        }
        tempfile::Builder::new()
            .prefix(id)
            .rand_bytes(0)
            .tempdir_in(self.root.join("tmp"))
            .map_err(|source| storage("create", &path, source))
    }

    /// Waits for the lock of `id`; it is held until the file is dropped, or the process ends.
    async fn lock(&self, id: &str) -> Result<File> {
        let path = self.root.join("locks").join(format!("{id}.lock"));
        let failed = |source| storage("lock", &path, source);
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path).map_err(failed)?;
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

/// A storage error.
pub(crate) fn storage(doing: &'static str, path: &Path, source: io::Error) -> Error {
    Error::Storage { doing, path: path.display().to_string(), source: source.into() }
}

/// An object's name: its kind, and a hash of all that it is made from.
pub(crate) fn object_id(kind: &str, made_from: &[&[u8]]) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in made_from {
        // With lengths, so that no two lists run together to the same bytes.
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    format!("{kind}-{}", &hasher.finalize().to_hex()[..32])
}

/// Writes the index of a finished directory, and makes sure that all of it is on disk.
fn seal(directory: &Path) -> io::Result<()> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let file = File::open(&path)?;
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        file.sync_all()?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        files.push(IndexedFile { name, blake3: hash_file(&path)?, stamp: Stamp::of(&file.metadata()?) });
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    let text = serde_json::to_vec_pretty(&Index { files })?;
    let index = directory.join(INDEX);
    fs::write(&index, text)?;
    File::open(&index)?.sync_all()?;
    File::open(directory)?.sync_all()
}

fn write_index(temporary: &tempfile::TempDir, index: &Index) -> io::Result<PathBuf> {
    let path = temporary.path().join(INDEX);
    fs::write(&path, serde_json::to_vec_pretty(index)?)?;
    Ok(path)
}

fn hash_file(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finalize().to_hex().to_string()),
            count => hasher.update(&buffer[..count]),
        };
    }
}

fn size(directory: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(directory) else { return 0 };
    // Blocks, not lengths: memory images have holes.
    entries.flatten().filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.blocks() * 512).sum()
}
