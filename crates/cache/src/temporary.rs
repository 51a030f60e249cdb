//! Directories for unfinished work, which are removed with it.
//!
//! A process that is killed cannot remove its own. So each directory is locked by its process; one
//! that is not locked belongs to no live process, and the next process that opens the cache removes
//! it ([`sweep`]).

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

/// A directory that is removed when this value is dropped or, if the process is killed, when the
/// cache is next opened.
#[derive(Debug)]
pub struct TemporaryDirectory {
    directory: tempfile::TempDir,
    /// Locked while the directory is in use.
    _own: File,
}

impl TemporaryDirectory {
    /// Creates a directory in `parent`, called `name` or, without one, by a unique name.
    pub(crate) fn new(parent: &Path, name: Option<&str>) -> io::Result<Self> {
        // No process sweeps between the creation of a directory and its locking.
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

    /// Returns the path of the directory.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Keeps the directory, wherever it has been moved to.
    pub(crate) fn keep(self) -> PathBuf {
        self.directory.keep()
    }
}

/// Removes the directories in `parent` that killed processes left. What cannot be removed now is
/// left to the next sweep.
pub fn sweep(parent: &Path) {
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

    use cellblock_rerun::rerun;

    use crate::Objects;

    const KILLED: &str = "temporary::tests::what_a_killed_process_left_is_removed_and_nothing_else";
    const ROOT: &str = "CELLBLOCK_TEST_CACHE";

    #[test]
    fn what_a_killed_process_left_is_removed_and_nothing_else() {
        if let Some(root) = std::env::var_os(ROOT) {
            let objects = Objects::open(root.into()).unwrap();
            let temporary = objects.temporary().unwrap();
            fs::create_dir(temporary.path().join("deep")).unwrap();
            fs::write(temporary.path().join("deep/file"), "").unwrap();
            // Like a process that is killed: nothing is dropped.
            std::process::abort()
        }
        let directory = tempfile::tempdir().unwrap();
        let objects = Objects::open(directory.path().to_owned()).unwrap();
        let alive = objects.temporary().unwrap();
        let count = || fs::read_dir(objects.root.join("tmp")).unwrap().count();
        let root = directory.path().display().to_string();
        let killed = rerun(KILLED, &[], &[(ROOT, &root)]).unwrap();
        assert!(!killed.status.success());
        assert_eq!(count(), 2);
        let other = Objects::open(objects.root.clone()).unwrap();
        assert!(count() == 1 && alive.path().exists());
        // A directory that another process uses stays, too.
        let second = other.temporary().unwrap();
        Objects::open(objects.root.clone()).unwrap();
        assert_eq!(count(), 2);
        drop((alive, second));
        assert_eq!(count(), 0);
    }
}
