//! The directory of a cell that has no file system of its own.
//!
//! ```text
//! cellblock-cell-…/      ours: programs cannot make or move anything here
//! ├── workspace/         theirs
//! ├── tmp/               theirs
//! └── system/            ours, to be read: what this level lacks (see `system.rs`)
//! ```

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
    sys::{
        stat::{Mode, fchmod, fstat, mkdirat},
        wait::{WaitStatus, waitpid},
    },
    unistd::{Gid, Uid, UnlinkatFlags, fchown, unlinkat},
};

use super::{
    system,
    wire::{Failure, Room, Step},
};
use crate::{
    beneath,
    inside::{self, NOBODY},
    sys::{self, Forked},
};

/// The directories that belong to programs.
pub(crate) const OWN: [&str; 2] = ["workspace", "tmp"];

/// Makes what is in the directory of a cell. `python` is what programs get by the name `python`.
pub(crate) fn fill(top: &OwnedFd, user: Uid, python: Option<&Path>) -> io::Result<()> {
    for name in OWN {
        let part = make_in(top.as_fd(), name, 0o700)?;
        if user.is_root() {
            // As the last step, and by descriptor: from now on programs may change what is there.
            fchown(&part, Some(Uid::from_raw(NOBODY)), Some(Gid::from_raw(NOBODY)))?;
        }
    }
    system::fill(make_in(top.as_fd(), system::NAME, 0o755)?.as_fd(), python)
}

/// Makes a directory that all may read and only this user may fill.
pub(crate) fn make_readable(path: &Path) -> io::Result<OwnedFd> {
    let (parent, name) = split(path)?;
    make_in(parent.as_fd(), name, 0o755)
}

/// Makes the directory for a cell's packages, unless the host has made and filled it already.
pub(crate) fn make_for_packages(path: &Path) -> io::Result<()> {
    match make_readable(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && is_own(path)? => Ok(()),
        made => made.map(drop),
    }
}

/// Tells whether this is a directory of this user's, and no link.
fn is_own(path: &Path) -> io::Result<bool> {
    let (parent, name) = split(path)?;
    let found = beneath::look(parent.as_fd(), name.as_ref())?;
    Ok(beneath::is_directory(&found) && found.st_uid == Uid::effective().as_raw())
}

/// Makes a directory with this mode, whatever the mask of this process is, and opens it.
pub(super) fn make_in(parent: BorrowedFd<'_>, name: &str, mode: u32) -> io::Result<OwnedFd> {
    mkdirat(parent, name, Mode::from_bits_truncate(0o700))?;
    let made = beneath::open(parent, name, OFlag::O_RDONLY | OFlag::O_DIRECTORY)?;
    fchmod(&made, Mode::from_bits_truncate(mode))?;
    Ok(made)
}

/// A path's directory, opened, and its last part.
fn split(path: &Path) -> io::Result<(OwnedFd, &str)> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    // The directory for temporary files is the caller's choice: it may be reached by a link.
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    Ok((nix::fcntl::open(parent, flags, Mode::empty())?, name))
}

/// Removes a cell's directory, or the one of its packages, whatever a program made of it.
///
/// Only for a process that does nothing else. What belongs to programs is emptied by a child of it
/// that has no more rights than they had; this process removes the empty directories.
pub(crate) fn remove(path: &Path, isolation: Isolation, user: Uid) -> Result<(), Failure> {
    let step = || format!("remove {}", path.display());
    let (parent, name) = split(path).step(step)?;
    let top = match beneath::open(parent.as_fd(), name, OFlag::O_PATH | OFlag::O_DIRECTORY) {
        Err(Errno::ENOENT) => return Ok(()),
        top => top.step(step)?,
    };
    if fstat(&top).step(step)?.st_uid != Uid::effective().as_raw() {
        // Anybody can make a directory of such a name where temporary files are.
        return Err(Errno::EPERM).step(step);
    }
    for name in OWN {
        let part = beneath::open(top.as_fd(), name, OFlag::O_PATH | OFlag::O_DIRECTORY);
        // A directory for packages has none of them.
        let Ok(part) = part else { continue };
        let theirs = user.is_root() && fstat(&part).step(step)?.st_uid == NOBODY;
        let emptied = match theirs {
            true => empty_as_a_program(part.as_fd(), &path.join(name), isolation, user),
            false => beneath::empty(part.as_fd()).step(step),
        };
        emptied?;
        unlinkat(&top, name, UnlinkatFlags::RemoveDir).step(step)?;
    }
    // The rest is ours; where programs run as this very user, it may be theirs, but so are we.
    beneath::empty(top.as_fd()).step(step)?;
    unlinkat(&parent, name, UnlinkatFlags::RemoveDir).step(step)
}

fn empty_as_a_program(
    part: BorrowedFd<'_>,
    path: &Path,
    isolation: Isolation,
    user: Uid,
) -> Result<(), Failure> {
    let step = || format!("empty {}", path.display());
    match sys::fork_into(CloneFlags::empty()).step(step)? {
        Forked::Child => {
            let confined = inside::confine(isolation, user, path);
            let emptied = confined.and_then(|()| beneath::empty(part).step(step));
            sys::exit(emptied.map_or_else(|failure| failure.errno.clamp(1, 255), |()| 0))
        }
        Forked::Parent(pid) => loop {
            match waitpid(pid, None) {
                Ok(WaitStatus::Exited(_, 0)) => return Ok(()),
                Ok(WaitStatus::Exited(_, errno)) => return Err(Errno::from_raw(errno)).step(step),
                Err(Errno::EINTR) | Ok(WaitStatus::StillAlive) => {}
                Ok(_) => return Err(Errno::EINTR).step(step),
                Err(error) => return Err(error).step(step),
            }
        },
    }
}

/// A file or directory of a cell.
struct Entry {
    /// When it was last changed, in seconds and nanoseconds.
    changed: (i64, i64),
    /// How many directories lie above it.
    depth: usize,
    path: PathBuf,
    is_directory: bool,
    size: u64,
}

/// Removes the newest files and directories of a cell until the rest fits. Only for a process that
/// has no more rights than the cell's programs.
pub(crate) fn trim(top: &Path, room: Room) -> io::Result<()> {
    let top = beneath::open_top(top)?;
    // A directory that has lost a file counts as new, and cannot go before the rest of its files.
    while trim_once(top.as_fd(), room)? {}
    Ok(())
}

/// Goes through all files once. Returns whether it has to be done again.
fn trim_once(top: BorrowedFd<'_>, room: Room) -> io::Result<bool> {
    let mut entries = Vec::new();
    let mut waiting: Vec<_> = OWN.iter().map(PathBuf::from).collect();
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
                size: if is_directory { 0 } else { crate::watch::size(&found) },
            });
        }
    }
    let mut bytes: u64 = entries.iter().map(|entry| entry.size).sum();
    let mut count = entries.len() as u64;
    let before = count;
    // The newest first; of equals the deeper one, which must go before what holds it.
    entries.sort_by_key(|entry| Reverse((entry.changed, entry.depth)));
    let mut parent = None;
    for entry in entries {
        if bytes <= room.disk && count <= room.files {
            return Ok(false);
        }
        if count <= room.files && entry.size == 0 {
            // It takes no room.
            continue;
        }
        if remove_one(top, &entry, &mut parent).is_ok() {
            bytes -= entry.size;
            count -= 1;
        }
    }
    Ok(count < before && (bytes > room.disk || count > room.files))
}

/// Removes a file or an empty directory. `opened` keeps the directory of the one before, which is
/// most often the same.
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
        trim(top.path(), Room { disk: 20_000, files: 100 }).unwrap();
        assert!(workspace.join("a/middle").exists() && !workspace.join("new").exists());
        trim(top.path(), Room { disk: 20_000, files: 2 }).unwrap();
        assert!(workspace.join("a/old").exists() && !workspace.join("a/middle").exists());
        trim(top.path(), Room { disk: 0, files: 0 }).unwrap();
        assert_eq!(fs::read_dir(&workspace).unwrap().count(), 0);
    }

    #[test]
    fn a_cells_directory_is_made_and_removed() {
        let outer = tempfile::tempdir().unwrap();
        let (cell, kept) = (outer.path().join("cell"), outer.path().join("kept"));
        fs::create_dir(&kept).unwrap();
        fs::write(kept.join("file"), "kept").unwrap();
        // Without the change to another user, which this process could not take back.
        let user = Uid::from_raw(1);
        fill(&make_readable(&cell).unwrap(), user, Some(Path::new("/usr/bin/python3"))).unwrap();
        assert!(make_readable(&cell).is_err(), "what is there already may be another's");
        assert!(make_for_packages(&cell).is_ok(), "the host's own");
        let link = outer.path().join("link");
        std::os::unix::fs::symlink(&cell, &link).unwrap();
        assert!(make_for_packages(&link).is_err());
        if Uid::effective().is_root() {
            let foreign = outer.path().join("foreign");
            fs::create_dir(&foreign).unwrap();
            std::os::unix::fs::chown(&foreign, Some(1), None).unwrap();
            assert!(make_for_packages(&foreign).is_err());
            assert!(remove(&foreign, Isolation::None, user).is_err());
        }
        assert_eq!(
            fs::read_link(cell.join("system/bin/python")).unwrap(),
            Path::new("/usr/bin/python3")
        );
        fs::create_dir_all(cell.join("workspace/a/b")).unwrap();
        std::os::unix::fs::symlink(&kept, cell.join("workspace/a/link")).unwrap();
        remove(&cell, Isolation::None, user).unwrap();
        assert!(!cell.exists());
        assert_eq!(fs::read_to_string(kept.join("file")).unwrap(), "kept");
        remove(&cell, Isolation::None, user).unwrap();
        // A link in its place is not followed.
        std::os::unix::fs::symlink(&kept, &cell).unwrap();
        assert!(remove(&cell, Isolation::None, user).is_err());
        assert!(kept.join("file").exists());
    }
}
