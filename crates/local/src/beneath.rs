//! Files that a program may move, remove or replace by links while we look at them or remove them.
//!
//! Nothing here resolves a path that such a program controls: each step starts from an open
//! directory and follows neither links nor `..` (`openat2`, Linux 5.6). So whatever the program
//! does, only what lies in the directory that was opened first is reached.

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
    sys::stat::{FchmodatFlags, FileStat, Mode, SFlag, fchmodat, fstat, fstatat},
    unistd::{UnlinkatFlags, geteuid, unlinkat},
};

/// Opens what lies at `path` beneath the directory `at`. A link anywhere on the way is an error
/// (`ELOOP`), and so is every other way out of the directory, also into another file system
/// (`EXDEV`).
pub(crate) fn open<P: ?Sized + NixPath>(
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
            // Something was renamed meanwhile, so the kernel cannot tell whether a step led out.
            Err(Errno::EAGAIN) => {}
            other => return other,
        }
    }
}

/// Opens a directory that is ours to name, such as the one for temporary files. Links are
/// followed but for the last part.
pub(crate) fn open_top(path: &Path) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    nix::fcntl::open(path, flags, Mode::empty())
}

/// The names in a directory that was opened for reading, without `.` and `..`.
pub(crate) fn names(directory: OwnedFd) -> nix::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in Dir::from_fd(directory)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if !matches!(name.as_slice(), b"." | b"..") {
            names.push(OsString::from_vec(name));
        }
    }
    Ok(names)
}

/// What lies under a name in an open directory; a link is not followed.
pub(crate) fn look(directory: BorrowedFd<'_>, name: &OsStr) -> nix::Result<FileStat> {
    fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW)
}

/// Whether this is a directory.
pub(crate) fn is_directory(found: &FileStat) -> bool {
    SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR
}

/// Removes everything in a directory, whatever a program made of it, but not the directory.
///
/// A chain of directories may be deeper than a path can be long, or than there are descriptors. So
/// each directory that is not empty is first moved to the top: no path is longer than two parts.
pub(crate) fn empty(top: BorrowedFd<'_>) -> nix::Result<()> {
    let mut moved = Moved::default();
    clear(top, top, &mut moved)?;
    while let Some(name) = moved.waiting.pop() {
        match open(top, name.as_str(), OFlag::O_PATH | OFlag::O_DIRECTORY) {
            Ok(directory) => {
                clear(directory.as_fd(), top, &mut moved)?;
                unlinkat(top, name.as_str(), UnlinkatFlags::RemoveDir)?;
            }
            // Something else has taken its place; it is removed as what it is.
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
    // Read to its end first: what is moved to the top would be met again there.
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
        // Moving a directory changes its entry `..`, so it must be writable.
        unlock(child.as_fd())?;
        loop {
            moved.count += 1;
            let to = format!(".removing-{}", moved.count);
            match renameat2(directory, name, top, to.as_str(), RenameFlags::RENAME_NOREPLACE) {
                Ok(()) => break moved.waiting.push(to),
                // The name is one of the program's.
                Err(Errno::EEXIST) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

/// Opens a directory for reading that its owner may have locked.
pub(crate) fn unlocked(directory: BorrowedFd<'_>) -> nix::Result<OwnedFd> {
    unlock(directory)?;
    open(directory, ".", OFlag::O_RDONLY | OFlag::O_DIRECTORY)
}

/// Gives the owner of a directory all rights to it.
fn unlock(directory: BorrowedFd<'_>) -> nix::Result<()> {
    if fstat(directory)?.st_mode & 0o700 == 0o700 {
        return Ok(());
    }
    set_mode(directory, 0o700)
}

/// Sets the mode of a directory that may be open as a place only (`O_PATH`).
fn set_mode(directory: BorrowedFd<'_>, mode: u32) -> nix::Result<()> {
    // The descriptor was opened without following anything, and this name leads to it alone.
    let itself = format!("/proc/self/fd/{}", directory.as_raw_fd());
    let (mode, follow) = (Mode::from_bits_truncate(mode), FchmodatFlags::FollowSymlink);
    fchmodat(nix::fcntl::AT_FDCWD, itself.as_str(), mode, follow)
}

/// A directory that its owner can read, as long as this lives. Then it has its mode again.
pub(crate) struct OpenToOwner<'a> {
    directory: BorrowedFd<'a>,
    /// The mode that it had, if it could not be read.
    closed: Option<u32>,
}

impl<'a> OpenToOwner<'a> {
    /// Opens a directory to its owner if it is closed. Root needs no right to it.
    pub fn open(directory: BorrowedFd<'a>) -> nix::Result<Self> {
        const READ_AND_SEARCH: u32 = 0o500;
        let mode = fstat(directory)?.st_mode & 0o7777;
        let may = mode & READ_AND_SEARCH == READ_AND_SEARCH || geteuid().is_root();
        if !may {
            set_mode(directory, mode | READ_AND_SEARCH)?;
        }
        Ok(Self { directory, closed: (!may).then_some(mode) })
    }

    /// Tells whether it is closed otherwise.
    pub fn was_closed(&self) -> bool {
        self.closed.is_some()
    }
}

impl Drop for OpenToOwner<'_> {
    fn drop(&mut self) {
        if let Some(mode) = self.closed {
            // It may have been removed.
            let _ = set_mode(self.directory, mode);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn deep_locked_and_linked_directories_go_and_nothing_else() {
        let outer = tempfile::tempdir().unwrap();
        let kept = outer.path().join("kept");
        fs::create_dir(&kept).unwrap();
        fs::write(kept.join("file"), "kept").unwrap();
        let top = outer.path().join("cell");
        let chain = top.join(vec!["d".repeat(60); 50].join("/"));
        fs::create_dir_all(&chain).unwrap();
        // Deeper than a path can be long.
        let deep = outer.path().join("deep");
        for _ in 0..4 {
            fs::rename(top.join("d".repeat(60)), &deep).unwrap();
            fs::create_dir_all(&chain).unwrap();
            fs::rename(&deep, chain.join("more")).unwrap();
        }
        symlink(&kept, top.join("link")).unwrap();
        symlink(&kept, top.join(".removing-1")).unwrap();
        fs::create_dir_all(top.join("locked/inner")).unwrap();
        fs::write(top.join("locked/inner/file"), "x").unwrap();
        fs::set_permissions(top.join("locked/inner"), Permissions::from_mode(0o0)).unwrap();
        fs::set_permissions(top.join("locked"), Permissions::from_mode(0o0)).unwrap();
        let opened = open_top(&top).unwrap();
        empty(opened.as_fd()).unwrap();
        assert_eq!(fs::read_dir(&top).unwrap().count(), 0);
        assert_eq!(fs::read_to_string(kept.join("file")).unwrap(), "kept");
    }

    #[test]
    fn no_way_leads_out() {
        let outer = tempfile::tempdir().unwrap();
        fs::create_dir_all(outer.path().join("top/in")).unwrap();
        fs::write(outer.path().join("secret"), "").unwrap();
        symlink("..", outer.path().join("top/up")).unwrap();
        symlink("in", outer.path().join("top/alias")).unwrap();
        let top = open_top(&outer.path().join("top")).unwrap();
        for path in ["../secret", "up/secret", "/etc/passwd", "in/../../secret", "alias"] {
            let opened = open(top.as_fd(), path, OFlag::O_PATH | OFlag::O_DIRECTORY);
            assert!(opened.is_err(), "{path}");
        }
        assert!(open(top.as_fd(), "in", OFlag::O_PATH).is_ok(), "the control");
    }

    /// The attack of a program that outlives its cell: directories become links to elsewhere
    /// while they are removed.
    #[test]
    fn a_directory_that_becomes_a_link_is_not_followed() {
        use std::sync::atomic::{AtomicBool, Ordering};
        let outer = tempfile::tempdir().unwrap();
        let (kept, top) = (outer.path().join("kept"), outer.path().join("top"));
        for round in 0..5 {
            fs::create_dir_all(kept.join("inner")).unwrap();
            fs::write(kept.join("inner/file"), "kept").unwrap();
            fs::create_dir(&top).unwrap();
            for number in 0..100 {
                fs::create_dir_all(top.join(format!("{number}/x"))).unwrap();
            }
            symlink(&kept, outer.path().join("link")).unwrap();
            let stop = AtomicBool::new(false);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let link = outer.path().join("link");
                    while !stop.load(Ordering::Relaxed) {
                        for entry in fs::read_dir(&top).into_iter().flatten().flatten() {
                            let at = nix::fcntl::AT_FDCWD;
                            let exchange = RenameFlags::RENAME_EXCHANGE;
                            let _ = renameat2(at, &link, at, &entry.path(), exchange);
                        }
                    }
                });
                let opened = open_top(&top).unwrap();
                // A directory that is changed meanwhile may make it fail, but never elsewhere.
                for _ in 0..4 {
                    let _ = empty(opened.as_fd());
                }
                stop.store(true, Ordering::Relaxed);
            });
            let content = fs::read_to_string(kept.join("inner/file"));
            assert_eq!(content.unwrap(), "kept", "round {round}");
            empty(open_top(outer.path()).unwrap().as_fd()).unwrap();
        }
    }

    use fs::Permissions;
}
