//! The directories of a cell on the host: making them, and removing them whatever a program made of
//! them.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use cellblock_exec::Isolation;
use nix::{
    errno::Errno,
    fcntl::OFlag,
    sched::CloneFlags,
    sys::{
        stat::{Mode, fstat},
        wait::{WaitStatus, waitpid},
    },
    unistd::{Gid, Pid, Uid, UnlinkatFlags, fchown, unlinkat},
};

use super::system;
use crate::{
    beneath,
    failure::{Failure, StepContext},
    inside::{self, NOBODY},
    layout, sys,
};

/// Makes a directory that every user can read and only this one can fill.
pub fn make(path: &Path) -> io::Result<OwnedFd> {
    let (parent, name) = split(path)?;
    Ok(beneath::make_directory(parent.as_fd(), name, 0o755)?)
}

/// Fills a cell's directory, as `layout.rs` shows it. Programs find `python` under that name.
pub fn fill(top: &OwnedFd, user: Uid, python: Option<&Path>) -> io::Result<()> {
    for name in layout::WRITABLE {
        let part = beneath::make_directory(top.as_fd(), name, 0o700)?;
        if user.is_root() {
            // As the last step, and by descriptor: from now on programs can change what is there.
            fchown(&part, Some(Uid::from_raw(NOBODY)), Some(Gid::from_raw(NOBODY)))?;
        }
    }
    system::fill(beneath::make_directory(top.as_fd(), layout::SYSTEM, 0o755)?.as_fd(), python)
}

/// Makes the directory for a cell's packages, unless the host has made and filled it already.
pub fn make_for_packages(path: &Path) -> io::Result<()> {
    match make(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && is_own(path)? => Ok(()),
        made => made.map(drop),
    }
}

/// True for a directory that belongs to this user and is not a link.
fn is_own(path: &Path) -> io::Result<bool> {
    let (parent, name) = split(path)?;
    let found = beneath::look(parent.as_fd(), name.as_ref())?;
    Ok(beneath::is_directory(&found) && found.st_uid == Uid::effective().as_raw())
}

/// Returns the parent directory of a path, opened, and the last part of the path.
fn split(path: &Path) -> io::Result<(OwnedFd, &str)> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    // The caller chooses the directory for temporary files, so its path may contain links.
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    Ok((nix::fcntl::open(parent, flags, Mode::empty())?, name))
}

/// Forks a process that removes a cell's directory, or the one of its packages. There may be many
/// files in it, and other cells must not wait.
pub fn fork_removal(path: &Path, isolation: Isolation, user: Uid) -> nix::Result<Pid> {
    sys::fork(CloneFlags::empty(), || i32::from(remove(path, isolation, user).is_err()))
}

/// Removes a cell's directory, or the one of its packages.
///
/// Only for a process that does nothing else. A child of it, which has no more rights than the
/// programs had, empties the directories that belong to programs; this process then removes the
/// empty directories.
pub fn remove(path: &Path, isolation: Isolation, user: Uid) -> Result<(), Failure> {
    let step = || format!("remove {}", path.display());
    let (parent, name) = split(path).step(step)?;
    let top = match beneath::open(parent.as_fd(), name, OFlag::O_PATH | OFlag::O_DIRECTORY) {
        Err(Errno::ENOENT) => return Ok(()),
        top => top.step(step)?,
    };
    if fstat(&top).step(step)?.st_uid != Uid::effective().as_raw() {
        // Everybody can make a directory with such a name among the temporary files.
        return Err(Errno::EPERM).step(step);
    }
    for name in layout::WRITABLE {
        let part = beneath::open(top.as_fd(), name, OFlag::O_PATH | OFlag::O_DIRECTORY);
        // A directory for packages has none of these.
        let Ok(part) = part else { continue };
        let is_theirs = user.is_root() && fstat(&part).step(step)?.st_uid == NOBODY;
        let emptied = match is_theirs {
            true => empty_with_rights_of_programs(part.as_fd(), &path.join(name), isolation, user),
            false => beneath::empty(part.as_fd()).step(step),
        };
        emptied?;
        unlinkat(&top, name, UnlinkatFlags::RemoveDir).step(step)?;
    }
    // The rest is ours. Where programs run as this very user, it may be theirs, but they have no
    // more rights than this process.
    beneath::empty(top.as_fd()).step(step)?;
    unlinkat(&parent, name, UnlinkatFlags::RemoveDir).step(step)
}

fn empty_with_rights_of_programs(
    part: BorrowedFd<'_>,
    path: &Path,
    isolation: Isolation,
    user: Uid,
) -> Result<(), Failure> {
    let step = || format!("empty {}", path.display());
    let child = sys::fork(CloneFlags::empty(), || {
        let confined = inside::confine(isolation, user, path);
        let emptied = confined.and_then(|()| beneath::empty(part).step(step));
        emptied.map_or_else(|failure| failure.errno.clamp(1, 255), |()| 0)
    });
    let child = child.step(step)?;
    loop {
        match waitpid(child, None) {
            Ok(WaitStatus::Exited(_, 0)) => return Ok(()),
            Ok(WaitStatus::Exited(_, errno)) => return Err(Errno::from_raw(errno)).step(step),
            Err(Errno::EINTR) | Ok(WaitStatus::StillAlive) => {}
            Ok(_) => return Err(Errno::EINTR).step(step),
            Err(error) => return Err(error).step(step),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_cells_directory_is_made_and_removed() {
        let outer = tempfile::tempdir().unwrap();
        let (cell, kept) = (outer.path().join("cell"), outer.path().join("kept"));
        fs::create_dir(&kept).unwrap();
        fs::write(kept.join("file"), "kept").unwrap();
        // Without the change to another user, which this process could not reverse.
        let user = Uid::from_raw(1);
        fill(&make(&cell).unwrap(), user, Some(Path::new("/usr/bin/python3"))).unwrap();
        assert!(make(&cell).is_err(), "an existing directory may be another user's");
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
        let python = fs::read_link(cell.join("system/bin/python")).unwrap();
        assert_eq!(python, Path::new("/usr/bin/python3"));
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
