//! An object's index: the hash of every file, and its stamp, which shows that it is unchanged.
//!
//! Hashing an object means reading hundreds of megabytes. So a file is hashed when the object is
//! made and, later, only when its stamp has changed or the caller asks for it ([`Rehash::All`]).

use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

use cellblock_exec::Result;
use serde::{Deserialize, Serialize};

use crate::{
    error::storage_error,
    files::{read_json, visit_files},
    stamp::Stamp,
};

/// The name of an object's index in its directory.
pub const INDEX: &str = "object.json";

/// The files of an object with their hashes.
#[derive(Debug, Serialize, Deserialize)]
pub struct Index {
    /// Sorted by name.
    pub files: Vec<IndexedFile>,
}

/// A file of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexedFile {
    /// The path in the object, with `/`.
    pub name: String,
    blake3: String,
    /// The permissions; `None` in an index that an earlier version wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mode: Option<u32>,
    /// The stamp of the file when its hash was last known to be right.
    stamp: Stamp,
}

/// The programs that use the files of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// Only this program and its user.
    Private,
    /// Programs in sandboxes, too: all may read the files, none may write them, and links are made
    /// to them.
    Shared,
}

/// The files whose hashes a check computes again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rehash {
    /// Files whose size, inode or times have changed.
    Touched,
    /// All files.
    All,
}

impl IndexedFile {
    fn sharing(&self) -> Sharing {
        if self.stamp.changed.is_some() { Sharing::Private } else { Sharing::Shared }
    }

    /// Restores the permissions of a shared file, which a program that runs as the user may have
    /// changed through a link. Returns true if they had been changed.
    fn repair_permissions(&self, path: &Path, found: &fs::Metadata) -> Result<bool> {
        if self.sharing() == Sharing::Private {
            return Ok(false);
        }
        if found.uid() != nix::unistd::geteuid().as_raw() {
            let why = io::Error::other("it belongs to another user");
            return Err(storage_error("trust", path, why));
        }
        let mode = found.mode() & 0o7777;
        let right = self.mode.unwrap_or(0o444 | mode & 0o111);
        if mode == right {
            return Ok(false);
        }
        fs::set_permissions(path, fs::Permissions::from_mode(right))
            .map_err(|source| storage_error("protect", path, source))?;
        Ok(true)
    }
}

impl Index {
    /// Reads the index of the object in the directory `object`.
    pub fn read(object: &Path) -> Result<Self> {
        read_json(&object.join(INDEX))
    }

    /// Checks that the files of the object are what the index says. Returns true if stamps have
    /// changed, so that the index should be written again.
    pub fn check(&mut self, object: &Path, rehash: Rehash) -> Result<bool> {
        let mut restamped = false;
        for file in &mut self.files {
            let path = object.join(&file.name);
            let metadata =
                fs::metadata(&path).map_err(|source| storage_error("read", &path, source))?;
            let stamp = stamp(&metadata, file.sharing());
            let repaired = file.repair_permissions(&path, &metadata)?;
            if rehash == Rehash::All || stamp != file.stamp || repaired {
                let hash =
                    hash_file(&path).map_err(|source| storage_error("read", &path, source))?;
                if hash != file.blake3 {
                    let why = io::Error::other("its content is not what was stored");
                    return Err(storage_error("trust", &path, why));
                }
                restamped |= stamp != file.stamp;
                file.stamp = stamp;
            }
        }
        Ok(restamped)
    }

    /// Writes the index to the file `path`.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        fs::write(path, serde_json::to_vec_pretty(self)?)
    }
}

/// Sets the permissions of all files in a finished directory, writes its index, and flushes all of
/// it to disk.
pub fn seal(directory: &Path, sharing: Sharing) -> io::Result<()> {
    let mut indexed = Vec::new();
    let mut directories = vec![directory.to_owned()];
    visit_files(directory, &mut |name, path| {
        let file = File::open(path)?;
        let mode = match sharing {
            Sharing::Private => 0o600,
            Sharing::Shared if file.metadata()?.mode() & 0o111 != 0 => 0o555,
            Sharing::Shared => 0o444,
        };
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        if sharing == Sharing::Private {
            file.sync_all()?;
        }
        let stamp = stamp(&file.metadata()?, sharing);
        let blake3 = hash_file(path)?;
        indexed.push(IndexedFile { name: name.to_owned(), blake3, mode: Some(mode), stamp });
        if let Some(parent) =
            path.parent().filter(|parent| directories.last().is_none_or(|last| last != parent))
        {
            directories.push(parent.to_owned());
        }
        Ok(())
    })?;
    indexed.sort_by(|a, b| a.name.cmp(&b.name));
    let index = directory.join(INDEX);
    Index { files: indexed }.write(&index)?;
    match sharing {
        Sharing::Private => {
            File::open(&index)?.sync_all()?;
            directories.iter().try_for_each(|directory| File::open(directory)?.sync_all())
        }
        // Thousands of small files: to flush them one by one would take seconds.
        Sharing::Shared => Ok(nix::unistd::syncfs(File::open(&index)?)?),
    }
}

fn stamp(metadata: &fs::Metadata, sharing: Sharing) -> Stamp {
    match sharing {
        Sharing::Private => Stamp::new(metadata),
        Sharing::Shared => Stamp::without_change_time(metadata),
    }
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
