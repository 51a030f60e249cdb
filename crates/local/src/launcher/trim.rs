//! Removing the newest files of a cell that has more than its limits allow.

use std::{
    cmp::Reverse,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use cellblock_exec::Isolation;
use nix::{
    errno::Errno,
    fcntl::OFlag,
    sched::CloneFlags,
    unistd::{Pid, Uid, UnlinkatFlags, unlinkat},
};

use crate::{beneath, inside, layout, protocol::FileLimits, sys};

/// Forks a process that removes the newest files of a cell's directory until the others fit.
///
/// It has the rights of the cell's programs: they may change the same files at the same time, and
/// lead a process that follows their paths elsewhere.
pub fn fork(
    directory: &Path,
    limits: FileLimits,
    isolation: Isolation,
    user: Uid,
) -> nix::Result<Pid> {
    sys::fork(CloneFlags::empty(), || {
        let confined = inside::confine(isolation, user, directory);
        i32::from(confined.is_err() || trim(directory, limits).is_err())
    })
}

/// A file or directory of a cell.
struct Entry {
    /// The time of the last change, in seconds and nanoseconds.
    changed: (i64, i64),
    /// The number of directories above it.
    depth: usize,
    path: PathBuf,
    is_directory: bool,
    size: u64,
}

fn trim(top: &Path, limits: FileLimits) -> io::Result<()> {
    let top = beneath::open_top(top)?;
    // A directory that has lost a file counts as new, and cannot be removed before the rest of its
    // files.
    while trim_once(top.as_fd(), limits)? {}
    Ok(())
}

/// Goes through all files once. Returns true if that must be repeated.
fn trim_once(top: BorrowedFd<'_>, limits: FileLimits) -> io::Result<bool> {
    let mut entries = entries(top)?;
    let mut bytes: u64 = entries.iter().map(|entry| entry.size).sum();
    let mut count = entries.len() as u64;
    let before = count;
    // The newest first; of equally new ones the deeper first, because it must be removed before the
    // directory that contains it.
    entries.sort_by_key(|entry| Reverse((entry.changed, entry.depth)));
    let mut parent = None;
    for entry in entries {
        if bytes <= limits.disk && count <= limits.files {
            return Ok(false);
        }
        if count <= limits.files && entry.size == 0 {
            // It occupies nothing.
            continue;
        }
        if remove_one(top, &entry, &mut parent).is_ok() {
            bytes -= entry.size;
            count -= 1;
        }
    }
    Ok(count < before && (bytes > limits.disk || count > limits.files))
}

/// Returns all files and directories in the directories that belong to programs.
fn entries(top: BorrowedFd<'_>) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    let mut waiting: Vec<_> = layout::WRITABLE.iter().map(PathBuf::from).collect();
    while let Some(directory) = waiting.pop() {
        let opened = beneath::open(top, &directory, OFlag::O_PATH | OFlag::O_DIRECTORY)
            .and_then(|opened| beneath::unlocked(opened.as_fd()));
        let Ok(opened) = opened else { continue };
        let names = beneath::names(opened.try_clone()?)?;
        for name in names {
            let Ok(found) = beneath::look(opened.as_fd(), &name) else { continue };
            let path = directory.join(&name);
            let is_directory = beneath::is_directory(&found);
            if is_directory {
                waiting.push(path.clone());
            }
            entries.push(Entry {
                changed: (found.st_ctime, found.st_ctime_nsec),
                depth: path.components().count(),
                path,
                is_directory,
                size: if is_directory { 0 } else { beneath::size(&found) },
            });
        }
    }
    Ok(entries)
}

/// Removes a file or an empty directory. `opened` keeps the parent directory for the next call,
/// which most often needs the same one.
fn remove_one(
    top: BorrowedFd<'_>,
    entry: &Entry,
    opened: &mut Option<(PathBuf, OwnedFd)>,
) -> nix::Result<()> {
    let (Some(at), Some(name)) = (entry.path.parent(), entry.path.file_name()) else {
        return Err(Errno::EINVAL);
    };
    let (_, parent) = match opened.take().filter(|(path, _)| path == at) {
        Some(same) => opened.insert(same),
        None => {
            let new = beneath::open(top, at, OFlag::O_PATH | OFlag::O_DIRECTORY)?;
            opened.insert((at.to_owned(), new))
        }
    };
    let flag = match entry.is_directory {
        true => UnlinkatFlags::RemoveDir,
        false => UnlinkatFlags::NoRemoveDir,
    };
    unlinkat(&*parent, name, flag)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_newest_files_are_trimmed() {
        let top = tempfile::tempdir().unwrap();
        let workspace = top.path().join("workspace");
        fs::create_dir_all(workspace.join("a")).unwrap();
        for name in ["a/old", "a/middle", "new"] {
            fs::write(workspace.join(name), vec![1; 8192]).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        trim(top.path(), FileLimits { disk: 20_000, files: 100 }).unwrap();
        assert!(workspace.join("a/middle").exists() && !workspace.join("new").exists());
        trim(top.path(), FileLimits { disk: 20_000, files: 2 }).unwrap();
        assert!(workspace.join("a/old").exists() && !workspace.join("a/middle").exists());
        trim(top.path(), FileLimits { disk: 0, files: 0 }).unwrap();
        assert_eq!(fs::read_dir(&workspace).unwrap().count(), 0);
    }
}
