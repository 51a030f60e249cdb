//! Access to files that a program may move, remove or replace by links at the same time.
//!
//! Nothing here resolves a path that such a program controls: each step starts from an open
//! directory and follows neither links nor `..` (`openat2`, Linux 5.6). So whatever the program
//! does, only files beneath the directory that was opened first are reached.

use std::{
    ffi::{OsStr, OsString},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStringExt as _,
    },
    path::Path,
};

use nix::{
    NixPath,
    dir::Dir,
    errno::Errno,
    fcntl::{AtFlags, OFlag, OpenHow, RenameFlags, ResolveFlag, openat2, renameat2},
    sys::stat::{FchmodatFlags, FileStat, Mode, SFlag, fchmod, fchmodat, fstat, fstatat, mkdirat},
    unistd::{UnlinkatFlags, geteuid, unlinkat},
};

/// Opens `path` beneath the directory `at`. A link anywhere in the path is an error (`ELOOP`), and
/// so is every other way out of the directory, also into another file system (`EXDEV`).
pub fn open<P: ?Sized + NixPath>(
    at: BorrowedFd<'_>,
    path: &P,
    flags: OFlag,
) -> nix::Result<OwnedFd> {
    let inside = ResolveFlag::RESOLVE_BENEATH
        | ResolveFlag::RESOLVE_NO_XDEV
        | ResolveFlag::RESOLVE_NO_SYMLINKS
        | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW).resolve(inside);
    loop {
        match openat2(at, path, how) {
            // Something was renamed at the same time, so the kernel cannot tell whether a step
            // left the directory.
            Err(Errno::EAGAIN) => {}
            other => return other,
        }
    }
}

/// Opens a directory whose path we choose, such as the one for temporary files. Links are followed,
/// except in the last part of the path.
pub fn open_top(path: &Path) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    nix::fcntl::open(path, flags, Mode::empty())
}

/// Makes a directory with this mode, whatever the umask of this process, and opens it.
pub fn make_directory(parent: BorrowedFd<'_>, name: &str, mode: u32) -> nix::Result<OwnedFd> {
    mkdirat(parent, name, Mode::from_bits_truncate(0o700))?;
    let made = open(parent, name, OFlag::O_RDONLY | OFlag::O_DIRECTORY)?;
    fchmod(&made, Mode::from_bits_truncate(mode))?;
    Ok(made)
}

/// Returns the names in a directory that was opened for reading, without `.` and `..`.
pub fn names(directory: OwnedFd) -> nix::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in Dir::from_fd(directory)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if !matches!(name.as_slice(), b"." | b"..") {
            names.push(OsString::from_vec(name));
        }
    }
    Ok(names)
}

/// Returns the metadata of a name in an open directory. A link is not followed.
pub fn look(directory: BorrowedFd<'_>, name: &OsStr) -> nix::Result<FileStat> {
    fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW)
}

/// True for a directory.
pub fn is_directory(found: &FileStat) -> bool {
    SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR
}

/// Returns the bytes that a file occupies, or will when its holes are filled.
pub fn size(found: &FileStat) -> u64 {
    let (length, blocks) = (found.st_size.max(0) as u64, found.st_blocks.max(0) as u64);
    length.max(blocks * 512)
}

/// Removes everything in a directory, however a program arranged it, but not the directory itself.
///
/// A chain of directories may be deeper than a path can be long, or than there are descriptors. So
/// each directory that is not empty is first moved to the top: no path is longer than two parts.
pub fn empty(top: BorrowedFd<'_>) -> nix::Result<()> {
    let mut moved = Moved::default();
    clear(top, top, &mut moved)?;
    while let Some(name) = moved.waiting.pop() {
        match open(top, name.as_str(), OFlag::O_PATH | OFlag::O_DIRECTORY) {
            Ok(directory) => {
                clear(directory.as_fd(), top, &mut moved)?;
                unlinkat(top, name.as_str(), UnlinkatFlags::RemoveDir)?;
            }
            // A file or link has taken its place; remove that.
            Err(Errno::ENOTDIR | Errno::ELOOP) => {
                unlinkat(top, name.as_str(), UnlinkatFlags::NoRemoveDir)?;
            }
            Err(Errno::ENOENT) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Directories that were moved to the top and have not been removed yet.
#[derive(Default)]
struct Moved {
    waiting: Vec<String>,
    count: u64,
}

/// Removes the files and empty directories of a directory, and moves its other directories to the
/// top.
fn clear(directory: BorrowedFd<'_>, top: BorrowedFd<'_>, moved: &mut Moved) -> nix::Result<()> {
    // Read all names first: directories that are moved to the top would be listed there again.
    for name in names(unlocked(directory)?)? {
        let name = name.as_os_str();
        match unlinkat(directory, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => continue,
            Err(Errno::EISDIR | Errno::EPERM) => {}
            Err(error) => return Err(error),
        }
        match unlinkat(directory, name, UnlinkatFlags::RemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => continue,
            Err(Errno::ENOTEMPTY) => {}
            Err(error) => return Err(error),
        }
        let child = open(directory, name, OFlag::O_PATH | OFlag::O_DIRECTORY)?;
        // Moving a directory changes its entry `..`, so the directory must be writable.
        unlock(child.as_fd())?;
        loop {
            moved.count += 1;
            let to = format!(".removing-{}", moved.count);
            match renameat2(directory, name, top, to.as_str(), RenameFlags::RENAME_NOREPLACE) {
                Ok(()) => break moved.waiting.push(to),
                // The program uses this name.
                Err(Errno::EEXIST) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

/// Opens a directory for reading, even if its owner has no right to it.
pub fn unlocked(directory: BorrowedFd<'_>) -> nix::Result<OwnedFd> {
    unlock(directory)?;
    open(directory, ".", OFlag::O_RDONLY | OFlag::O_DIRECTORY)
}

/// Grants the owner of a directory all rights to it.
fn unlock(directory: BorrowedFd<'_>) -> nix::Result<()> {
    if fstat(directory)?.st_mode & 0o700 == 0o700 {
        return Ok(());
    }
    set_mode(directory, 0o700)
}

/// Sets the mode of a directory that may be open without rights to its content (`O_PATH`).
fn set_mode(directory: BorrowedFd<'_>, mode: u32) -> nix::Result<()> {
    // The descriptor was opened without following anything, and this name leads to it alone.
    let itself = format!("/proc/self/fd/{}", directory.as_raw_fd());
    let (mode, follow) = (Mode::from_bits_truncate(mode), FchmodatFlags::FollowSymlink);
    fchmodat(nix::fcntl::AT_FDCWD, itself.as_str(), mode, follow)
}

/// A directory that its owner can read while this value lives. Dropping it restores the mode.
pub struct OpenToOwner<'a> {
    directory: BorrowedFd<'a>,
    /// The original mode, if the directory could not be read.
    closed: Option<u32>,
}

impl<'a> OpenToOwner<'a> {
    /// Makes a directory readable for its owner if it is not. Root needs no right to it.
    pub fn open(directory: BorrowedFd<'a>) -> nix::Result<Self> {
        const READ_AND_SEARCH: u32 = 0o500;
        let mode = fstat(directory)?.st_mode & 0o7777;
        let may = mode & READ_AND_SEARCH == READ_AND_SEARCH || geteuid().is_root();
        if !may {
            set_mode(directory, mode | READ_AND_SEARCH)?;
        }
        Ok(Self { directory, closed: (!may).then_some(mode) })
    }

    /// True if the owner cannot read the directory otherwise.
    pub fn was_closed(&self) -> bool {
        self.closed.is_some()
    }
}

impl Drop for OpenToOwner<'_> {
    fn drop(&mut self) {
        if let Some(mode) = self.closed {
            // The directory may have been removed.
            let _ = set_mode(self.directory, mode);
        }
    }
}

#[cfg(test)]
mod tests;
