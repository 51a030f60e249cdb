//! Bytes and number of files in a cell's directory.

use std::{
    collections::HashSet,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use cellblock_exec::Limits;
use nix::{errno::Errno, fcntl::OFlag, sys::stat::FileStat};

use crate::{
    beneath,
    launcher::{directory::OWN, system},
};

/// What files there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Files {
    /// Their bytes.
    pub bytes: u64,
    /// Their number, directories included.
    pub count: u64,
}

impl Files {
    /// More than any limit allows: what there is cannot be counted.
    pub const UNCOUNTABLE: Files = Files { bytes: u64::MAX, count: u64::MAX };

    /// Whether they are more than a limit allows.
    pub fn exceed(&self, limits: &Limits) -> bool {
        self.bytes > limits.disk || self.count > u64::from(limits.files)
    }
}

/// Longer paths are not followed: they count as more files than any limit allows. Linux takes no
/// longer ones.
const LONGEST: usize = 4000;

/// Directories that are closed, one in the other, count as more files than any limit allows when
/// there are more than this.
const MOST_CLOSED: usize = 50;

/// Looks through the files of a cell until a limit is exceeded.
///
/// Directories are read in random order, so that a program cannot move files from one that will be
/// read next to one that has been.
pub(crate) fn look(top: &Path, limits: &Limits) -> Files {
    let Ok(top) = beneath::open_top(top) else { return Files::default() };
    let waiting = OWN.iter().map(PathBuf::from).collect();
    let mut walk = Walk { limits, files: Files::default(), seen: HashSet::new(), waiting };
    // Where nothing keeps programs from it, they may have made something beside their directories.
    let beside = names(top.as_fd(), Path::new("."));
    for name in beside.unwrap_or_default() {
        let own = OWN.iter().any(|own| name == Path::new(own)) || name == Path::new(system::NAME);
        if !own {
            walk.files.count += 1;
            walk.waiting.push(name);
        }
    }
    match walk.all(top.as_fd()) {
        Ok(()) => walk.files,
        Err(Uncountable) => Files::UNCOUNTABLE,
    }
}

/// A program keeps its files from being counted.
struct Uncountable;

struct Walk<'a> {
    limits: &'a Limits,
    files: Files,
    /// Files with several names that have been counted, by device and number.
    seen: HashSet<(u64, u64)>,
    /// Directories that have not been read.
    waiting: Vec<PathBuf>,
}

impl Walk<'_> {
    fn all(&mut self, top: BorrowedFd<'_>) -> Result<(), Uncountable> {
        let mut random = getrandom::u64().unwrap_or_default();
        while !self.waiting.is_empty() && !self.files.exceed(self.limits) {
            // A linear congruential generator; constants of D. Knuth's MMIX.
            random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            let directory = self.waiting.swap_remove((random >> 33) as usize % self.waiting.len());
            if directory.as_os_str().len() > LONGEST {
                return Err(Uncountable);
            }
            match beneath::open(top, &directory, OFlag::O_PATH | OFlag::O_DIRECTORY) {
                Ok(opened) => self.one(opened, &directory, 0)?,
                Err(Errno::EACCES) => return Err(Uncountable),
                // It is gone.
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// Counts what is in a directory. One that its owner has closed is opened meanwhile, and so are
    /// those in it, because no path leads there afterwards.
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
            self.files.count += 1;
            if !beneath::is_directory(&found) {
                if found.st_nlink <= 1 || self.seen.insert((found.st_dev, found.st_ino)) {
                    self.files.bytes = self.files.bytes.saturating_add(size(&found));
                }
            } else if opened.was_closed() {
                if depth > MOST_CLOSED {
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
            if self.files.exceed(self.limits) {
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

/// What a file has taken, or will when its holes are filled.
pub(crate) fn size(found: &FileStat) -> u64 {
    let (length, blocks) = (found.st_size.max(0) as u64, found.st_blocks.max(0) as u64);
    length.max(blocks * 512)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn files_and_links_are_counted_wherever_they_are() {
        let directory = tempfile::tempdir().unwrap();
        let (top, limits) = (directory.path(), Limits::default());
        fs::create_dir_all(top.join("workspace/a/b")).unwrap();
        fs::create_dir_all(top.join("system/bin")).unwrap();
        fs::write(top.join("workspace/a/one"), vec![0; 5000]).unwrap();
        fs::hard_link(top.join("workspace/a/one"), top.join("workspace/two")).unwrap();
        fs::File::create(top.join("workspace/hole")).unwrap().set_len(1 << 20).unwrap();
        let files = look(top, &limits);
        assert_eq!(files.count, 5);
        assert!((5000 + (1 << 20)..(1 << 20) + 20_000).contains(&files.bytes), "{files:?}");
        fs::create_dir(top.join("beside")).unwrap();
        fs::write(top.join("beside/three"), vec![0; 1 << 16]).unwrap();
        let more = look(top, &limits);
        assert_eq!((more.count, more.bytes - files.bytes), (7, 1 << 16));
        assert!(look(top, &Limits { files: 2, ..limits }).count <= 3);
    }

    #[test]
    fn closed_directories_are_counted_and_stay_closed() {
        use std::os::unix::fs::PermissionsExt as _;
        let top = tempfile::tempdir().unwrap();
        let (outer, inner) = (top.path().join("tmp/outer"), top.path().join("tmp/outer/inner"));
        for (mode, number) in [0o000, 0o100, 0o200, 0o300, 0o400, 0o700].into_iter().zip(1..) {
            fs::create_dir_all(&inner).unwrap();
            fs::write(inner.join(format!("file-{mode:o}")), vec![0; 10_000]).unwrap();
            let set = |path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
            set(&inner, mode).unwrap();
            set(&outer, mode).unwrap();
            let files = look(top.path(), &Limits::default());
            assert_eq!(files.count, 2 + number, "{mode:o}");
            assert!((10_000 * number..13_000 * number).contains(&files.bytes), "{files:?}");
            let kept = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!(kept(&outer), mode);
            set(&outer, 0o700).unwrap();
            assert_eq!(kept(&inner), mode);
            set(&inner, 0o700).unwrap();
        }
    }

    #[test]
    fn links_are_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join("workspace")).unwrap();
        std::os::unix::fs::symlink("/usr", directory.path().join("workspace/usr")).unwrap();
        std::os::unix::fs::symlink("/usr", directory.path().join("tmp")).unwrap();
        assert_eq!(look(directory.path(), &Limits::default()).count, 1);
    }
}
