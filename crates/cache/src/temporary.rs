//! Directories for unfinished work, which vanish with the work.
//!
//! A killed process cannot remove its own. Each is locked by its process, so one that is not locked belongs to nobody, and
//! the next process removes it.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
};

use cellblock_exec::Result;
use serde::Serialize;

use crate::objects::{Objects, storage};

/// A directory that is removed when this is dropped or, if the process is killed, when the cache is next opened.
#[derive(Debug)]
pub struct Temporary {
    directory: tempfile::TempDir,
    /// Locked.
    _own: File,
}

impl Temporary {
    /// A new directory in `parent`: called `name`, or else as nothing else is.
    pub(crate) fn new(parent: &Path, name: Option<&str>) -> io::Result<Self> {
        // Nobody sweeps between the making of a directory and its locking.
        let all = File::open(parent)?;
        all.lock_shared()?;
        let directory = match name {
            Some(name) => tempfile::Builder::new().prefix(name).rand_bytes(0).tempdir_in(parent),
            None => tempfile::tempdir_in(parent),
        }?;
        let own = File::open(directory.path())?;
        own.lock()?;
        Ok(Self { directory, _own: own })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Leaves the directory where it is, or has been moved to.
    pub(crate) fn keep(self) -> PathBuf {
        self.directory.keep()
    }
}

/// Writes a file as JSON, its directory too, so that readers see all of it or nothing.
pub(crate) fn write_whole(objects: &Objects, path: &Path, content: &impl Serialize) -> Result<()> {
    let temporary = objects.temporary()?;
    let new = temporary.path().join("file");
    let write = || {
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        let mut file = File::create(&new)?;
        file.write_all(&serde_json::to_vec_pretty(content)?)?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    write().map_err(|source| storage("write", path, source))
}

/// Removes what killed processes left in `parent`. What cannot be removed now is left to the next one.
pub(crate) fn sweep(parent: &Path) {
    let (Ok(all), Ok(entries)) = (File::open(parent), fs::read_dir(parent)) else { return };
    let mut entries = entries.flatten().peekable();
    if entries.peek().is_none() || all.try_lock().is_err() {
        return;
    }
    for entry in entries {
        let path = entry.path();
        let in_use = File::open(&path)
            .is_ok_and(|own| matches!(own.try_lock(), Err(TryLockError::WouldBlock)));
        if !in_use {
            let _ = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use crate::{Objects, rerun};

    const KILLED: &str = "temporary::tests::what_a_killed_process_left_is_removed_and_nothing_else";
    const ROOT: &str = "CELLBLOCK_TEST_CACHE";

    #[test]
    fn what_a_killed_process_left_is_removed_and_nothing_else() {
        if let Some(root) = std::env::var_os(ROOT) {
            let objects = Objects::at(root.into()).unwrap();
            let temporary = objects.temporary().unwrap();
            fs::create_dir(temporary.path().join("deep")).unwrap();
            fs::write(temporary.path().join("deep/file"), "").unwrap();
            // As a process that is killed: nothing is dropped.
            std::process::abort()
        }
        let directory = tempfile::tempdir().unwrap();
        let objects = Objects::at(directory.path().to_owned()).unwrap();
        let alive = objects.temporary().unwrap();
        let count = || fs::read_dir(objects.root.join("tmp")).unwrap().count();
        let killed =
            rerun::again(KILLED, &[], &[(ROOT, &directory.path().display().to_string())]).unwrap();
        assert!(!killed.status.success());
        assert_eq!(count(), 2);
        let other = Objects::at(objects.root.clone()).unwrap();
        assert!(count() == 1 && alive.path().exists());
        // One that is in use by a handle of another process's stays, too.
        let second = other.temporary().unwrap();
        Objects::at(objects.root.clone()).unwrap();
        assert_eq!(count(), 2);
        drop((alive, second));
        assert_eq!(count(), 0);
    }
}
