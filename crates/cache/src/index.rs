//! An object's index: the hash of every file, and what tells that a file is untouched.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

use cellblock_exec::Result;
use serde::{Deserialize, Serialize};

use crate::{
    installed::files,
    objects::{Care, storage},
};

/// The name of an object's index.
pub(crate) const INDEX: &str = "object.json";

/// An object's index.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Index {
    pub(crate) files: Vec<IndexedFile>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IndexedFile {
    /// Its path in the object, with `/`.
    pub(crate) name: String,
    blake3: String,
    /// Its permissions; `None` in an index of an earlier version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mode: Option<u32>,
    /// The file as it was when its hash was last known to be right.
    stamp: Stamp,
}

/// What tells that a file is untouched, short of reading it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stamp {
    bytes: u64,
    inode: u64,
    modified: (i64, i64),
    /// The change time, which programs cannot set back. Not of shared files: each new link changes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    changed: Option<(i64, i64)>,
}

impl Stamp {
    pub(crate) fn of(metadata: &fs::Metadata, use_of: Use) -> Self {
        Self {
            bytes: metadata.len(),
            inode: metadata.ino(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (use_of == Use::Private).then(|| (metadata.ctime(), metadata.ctime_nsec())),
        }
    }

    fn use_of(&self) -> Use {
        if self.changed.is_some() { Use::Private } else { Use::Shared }
    }
}

/// Who uses the files of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// Only we.
    Private,
    /// Programs in sandboxes, too: to be read by all and written by none, and linked to from elsewhere.
    Shared,
}

impl IndexedFile {
    /// Gives a shared file its permissions back: a program that runs as the user may have changed
    /// them by a link. Returns whether they were others.
    fn repair_rights(&self, path: &Path, found: &fs::Metadata) -> Result<bool> {
        if self.stamp.use_of() == Use::Private {
            return Ok(false);
        }
        if found.uid() != nix::unistd::geteuid().as_raw() {
            let why = io::Error::other("it belongs to another user");
            return Err(storage("trust", path, why));
        }
        let mode = found.mode() & 0o7777;
        let right = self.mode.unwrap_or(0o444 | mode & 0o111);
        if mode == right {
            return Ok(false);
        }
        fs::set_permissions(path, fs::Permissions::from_mode(right))
            .map_err(|source| storage("protect", path, source))?;
        Ok(true)
    }
}

impl Index {
    /// Reads the index of the object at `object`.
    pub(crate) fn read(object: &Path) -> Result<Self> {
        let path = object.join(INDEX);
        let text = fs::read(&path).map_err(|source| storage("read", &path, source))?;
        serde_json::from_slice(&text).map_err(|source| storage("understand", &path, source.into()))
    }

    /// Looks whether the files of the object are what the index says. Tells whether stamps have changed.
    pub(crate) fn check(&mut self, object: &Path, care: Care) -> Result<bool> {
        let mut restamped = false;
        for file in &mut self.files {
            let path = object.join(&file.name);
            let metadata = fs::metadata(&path).map_err(|source| storage("read", &path, source))?;
            let stamp = Stamp::of(&metadata, file.stamp.use_of());
            let repaired = file.repair_rights(&path, &metadata)?;
            if care == Care::Hashes || stamp != file.stamp || repaired {
                let hash = hash_file(&path).map_err(|source| storage("read", &path, source))?;
                if hash != file.blake3 {
                    return Err(storage(
                        "trust",
                        &path,
                        io::Error::other("its content is not what was stored"),
                    ));
                }
                restamped |= stamp != file.stamp;
                file.stamp = stamp;
            }
        }
        Ok(restamped)
    }

    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        fs::write(path, serde_json::to_vec_pretty(self)?)
    }
}

/// Writes the index of a finished directory, and makes sure that all of it is on disk.
pub(crate) fn seal(directory: &Path, use_of: Use) -> io::Result<()> {
    let mut indexed = Vec::new();
    let mut directories = vec![directory.to_owned()];
    files(directory, &mut |name, path| {
        let file = File::open(path)?;
        let mode = match use_of {
            Use::Private => 0o600,
            Use::Shared if file.metadata()?.mode() & 0o111 != 0 => 0o555,
            Use::Shared => 0o444,
        };
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        if use_of == Use::Private {
            file.sync_all()?;
        }
        let stamp = Stamp::of(&file.metadata()?, use_of);
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
    match use_of {
        Use::Private => {
            File::open(&index)?.sync_all()?;
            directories.iter().try_for_each(|directory| File::open(directory)?.sync_all())
        }
        // Thousands of small files: one by one it would take seconds.
        Use::Shared => Ok(nix::unistd::syncfs(File::open(&index)?)?),
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
