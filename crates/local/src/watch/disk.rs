//! The number and size of the files in a cell's directory.

use std::{
    collections::HashSet,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use cellblock_exec::Limits;
use nix::{errno::Errno, fcntl::OFlag};

use crate::{beneath, layout};

/// The number and size of files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FileUsage {
    /// Bytes of all files.
    pub bytes: u64,
    /// Number of files and directories.
    pub count: u64,
}

impl FileUsage {
    /// More than any limit allows: the files cannot be counted.
    pub const UNCOUNTABLE: FileUsage = FileUsage { bytes: u64::MAX, count: u64::MAX };

    /// True if there are more files or bytes than the limits allow.
    pub fn exceeds(&self, limits: &Limits) -> bool {
        self.bytes > limits.disk || self.count > u64::from(limits.files)
    }
}

/// The maximum length of a path that is followed, in bytes. A longer one counts as more files than
/// any limit allows. Linux resolves no longer ones.
const MAX_PATH: usize = 4000;

/// The maximum depth of directories that are closed and lie in each other. A greater depth counts
/// as more files than any limit allows.
const MAX_CLOSED_DEPTH: usize = 50;

/// Counts the files of a cell until a limit is exceeded.
///
/// Directories are read in random order, so that a program cannot move files from a directory that
/// will be read next to one that has been read.
pub fn look(top: &Path, limits: &Limits) -> FileUsage {
    let Ok(top) = beneath::open_top(top) else { return FileUsage::default() };
    let waiting = layout::WRITABLE.iter().map(PathBuf::from).collect();
    let mut walk = Walk { limits, usage: FileUsage::default(), seen: HashSet::new(), waiting };
    // At a level without walls, programs may have made files beside their directories.
    let beside = names(top.as_fd(), Path::new("."));
    for name in beside.unwrap_or_default() {
        let is_known = layout::WRITABLE.iter().any(|known| name == Path::new(known))
            || name == Path::new(layout::SYSTEM);
        if !is_known {
            walk.usage.count += 1;
            walk.waiting.push(name);
        }
    }
    match walk.all(top.as_fd()) {
        Ok(()) => walk.usage,
        Err(Uncountable) => FileUsage::UNCOUNTABLE,
    }
}

/// An error: a program keeps its files from being counted.
struct Uncountable;

/// One walk through the files of a cell.
struct Walk<'a> {
    limits: &'a Limits,
    usage: FileUsage,
    /// Files with several names that have been counted, by device and inode number.
    seen: HashSet<(u64, u64)>,
    /// Directories that have not been read.
    waiting: Vec<PathBuf>,
}

impl Walk<'_> {
    fn all(&mut self, top: BorrowedFd<'_>) -> Result<(), Uncountable> {
        let mut random = getrandom::u64().unwrap_or_default();
        while !self.waiting.is_empty() && !self.usage.exceeds(self.limits) {
            // A linear congruential generator; constants of D. Knuth's MMIX.
            random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            let directory = self.waiting.swap_remove((random >> 33) as usize % self.waiting.len());
            if directory.as_os_str().len() > MAX_PATH {
                return Err(Uncountable);
            }
            match beneath::open(top, &directory, OFlag::O_PATH | OFlag::O_DIRECTORY) {
                Ok(opened) => self.one(opened, &directory, 0)?,
                Err(Errno::EACCES) => return Err(Uncountable),
                // The directory is gone.
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// Counts the files in a directory. One that its owner has closed is opened during the walk,
    /// and the directories in it are read at once, because no path leads to them afterwards.
    fn one(&mut self, directory: OwnedFd, path: &Path, depth: usize) -> Result<(), Uncountable> {
        let Ok(opened) = beneath::OpenToOwner::open(directory.as_fd()) else {
            return Err(Uncountable);
        };
        let listed = beneath::open(directory.as_fd(), ".", OFlag::O_RDONLY | OFlag::O_DIRECTORY);
        let names = match listed.and_then(beneath::names) {
            Ok(names) => names,
            Err(Errno::EACCES) => return Err(Uncountable),
            Err(_) => return Ok(()),
        };
        for name in names {
            let found = match beneath::look(directory.as_fd(), &name) {
                Ok(found) => found,
                Err(Errno::EACCES) => return Err(Uncountable),
                Err(_) => continue,
            };
            self.usage.count += 1;
            if !beneath::is_directory(&found) {
                if found.st_nlink <= 1 || self.seen.insert((found.st_dev, found.st_ino)) {
                    self.usage.bytes = self.usage.bytes.saturating_add(beneath::size(&found));
                }
            } else if opened.was_closed() {
                if depth > MAX_CLOSED_DEPTH {
                    return Err(Uncountable);
                }
                let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
                let Ok(inner) = beneath::open(directory.as_fd(), name.as_os_str(), flags) else {
                    continue;
                };
                self.one(inner, &path.join(&name), depth + 1)?;
            } else {
                self.waiting.push(path.join(&name));
            }
            if self.usage.exceeds(self.limits) {
                break;
            }
        }
        Ok(())
    }
}

fn names(top: BorrowedFd<'_>, path: &Path) -> nix::Result<Vec<PathBuf>> {
    let directory = beneath::open(top, path, OFlag::O_RDONLY | OFlag::O_DIRECTORY)?;
    let names = beneath::names(directory)?;
    Ok(names.into_iter().map(PathBuf::from).collect())
}

#[cfg(test)]
mod tests;
