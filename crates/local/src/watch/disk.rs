//! Bytes and number of files in a cell's directory.

use std::{
    collections::HashSet,
    os::fd::{AsFd, BorrowedFd},
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

/// Looks through the files of a cell until a limit is exceeded. `seen` collects the files that have
/// been counted, by device and number.
pub(crate) fn look(top: &Path, limits: &Limits, seen: &mut HashSet<(u64, u64)>) -> Files {
    let Ok(top) = beneath::open_top(top) else { return Files::default() };
    let mut files = Files::default();
    let mut waiting: Vec<PathBuf> = OWN.iter().map(PathBuf::from).collect();
    // Where nothing keeps programs from it, they may have made something beside their directories.
    let beside = names(top.as_fd(), Path::new("."));
    for name in beside.unwrap_or_default() {
        let own = OWN.iter().any(|own| name == Path::new(own)) || name == Path::new(system::NAME);
        if !own {
            files.count += 1;
            waiting.push(name);
        }
    }
    while let Some(directory) = waiting.pop() {
        if directory.as_os_str().len() > LONGEST {
            return Files::UNCOUNTABLE;
        }
        let opened = beneath::open(top.as_fd(), &directory, OFlag::O_RDONLY | OFlag::O_DIRECTORY);
        let opened = match opened {
            Ok(opened) => opened,
            // Files can be made in it, but not listed.
            Err(Errno::EACCES) if can_be_filled(top.as_fd(), &directory) => {
                return Files::UNCOUNTABLE;
            }
            Err(_) => continue,
        };
        let Ok(copy) = opened.try_clone() else { continue };
        for name in beneath::names(copy).unwrap_or_default() {
            let Ok(found) = beneath::look(opened.as_fd(), &name) else { continue };
            files.count += 1;
            if beneath::is_directory(&found) {
                waiting.push(directory.join(&name));
            } else if found.st_nlink <= 1 || seen.insert((found.st_dev, found.st_ino)) {
                files.bytes = files.bytes.saturating_add(size(&found));
            }
            if files.exceed(limits) {
                return files;
            }
        }
    }
    files
}

fn names(top: BorrowedFd<'_>, path: &Path) -> nix::Result<Vec<PathBuf>> {
    let directory = beneath::open(top, path, OFlag::O_RDONLY | OFlag::O_DIRECTORY)?;
    let names = beneath::names(directory)?;
    Ok(names.into_iter().map(PathBuf::from).collect())
}

/// Whether the owner of a directory may make files in it.
fn can_be_filled(top: BorrowedFd<'_>, directory: &Path) -> bool {
    const WRITE_AND_SEARCH: u32 = 0o300;
    let opened = beneath::open(top, directory, OFlag::O_PATH | OFlag::O_DIRECTORY);
    let found = opened.and_then(nix::sys::stat::fstat);
    found.is_ok_and(|found| found.st_mode & WRITE_AND_SEARCH == WRITE_AND_SEARCH)
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

    fn counted(top: &Path, limits: &Limits) -> Files {
        look(top, limits, &mut HashSet::new())
    }

    #[test]
    fn files_and_links_are_counted_wherever_they_are() {
        let directory = tempfile::tempdir().unwrap();
        let (top, limits) = (directory.path(), Limits::default());
        fs::create_dir_all(top.join("workspace/a/b")).unwrap();
        fs::create_dir_all(top.join("system/bin")).unwrap();
        fs::write(top.join("workspace/a/one"), vec![0; 5000]).unwrap();
        fs::hard_link(top.join("workspace/a/one"), top.join("workspace/two")).unwrap();
        fs::File::create(top.join("workspace/hole")).unwrap().set_len(1 << 20).unwrap();
        let files = counted(top, &limits);
        assert_eq!(files.count, 5);
        assert!((5000 + (1 << 20)..(1 << 20) + 20_000).contains(&files.bytes), "{files:?}");
        fs::create_dir(top.join("beside")).unwrap();
        fs::write(top.join("beside/three"), vec![0; 1 << 16]).unwrap();
        let more = counted(top, &limits);
        assert_eq!((more.count, more.bytes - files.bytes), (7, 1 << 16));
        assert!(counted(top, &Limits { files: 2, ..limits }).count <= 3);
    }

    #[test]
    fn links_are_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join("workspace")).unwrap();
        std::os::unix::fs::symlink("/usr", directory.path().join("workspace/usr")).unwrap();
        std::os::unix::fs::symlink("/usr", directory.path().join("tmp")).unwrap();
        assert_eq!(counted(directory.path(), &Limits::default()).count, 1);
    }
}
