//! A comparison of our file system with a real one: the same operations have the same results.
//!
//! The real side runs in a thread whose root is a temporary directory, so no path leads out of it.
//! Linux is right by definition, with these exceptions, where our behaviour is intended:
//!
//! - Opening a link without a target, to create the target, is `EEXIST`.
//! - A path that ends in `.` or `..` cannot be created, removed or renamed on either side. Linux
//!   has a different error for each call; here it is always `EINVAL`. The same holds for creating a
//!   file by a path, or through a link, that ends in a slash.
//! - `..` of a directory that was removed while it was open does not exist.
//! - `pwrite` to a descriptor that appends writes at its offset, as in POSIX; Linux appends.
//! - Moving a file over the directory that contains it is `EISDIR`, as for any other directory; on
//!   Linux it is `ENOTEMPTY`.
//! - Not compared: sizes, offsets and order of directories, times, modes, owners. There are no hard
//!   links (`path_link` is `ENOTSUP`).

use std::{
    fs::File,
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::FileExt,
    },
    path::Path,
};

use super::{
    guest::{DIRECTORY, FILE, Guest, LINK},
    operations::{GuestFs, Operation, OperationResult, PathAt, SLOTS},
};
use crate::fs::{
    Fs,
    abi::{FDFLAG_APPEND, oflags, rights},
};
use nix::{
    fcntl::{AtFlags, OFlag, openat, readlinkat, renameat},
    sched::{CloneFlags, unshare},
    sys::stat::{FileStat, Mode, SFlag, fstat, fstatat, mkdirat},
    unistd::{UnlinkatFlags, fchdir, lseek, symlinkat, unlinkat},
};

/// Runs the operations on both sides.
pub fn compare(directory: &Path, operations: &[Operation]) -> Result<(), String> {
    let mut real = RealFs::enter(directory).unwrap();
    let mut ours = GuestFs::new(Guest::new(Fs::new()));
    for (index, operation) in operations.iter().enumerate() {
        if real.is_ours_to_decide(operation) {
            continue;
        }
        let expected = real.run(operation).map_err(|error| RealErrno::of(&error));
        let given = ours.run(operation);
        let agree = match (&given, &expected) {
            (Ok(given), Ok(expected)) => given == expected,
            (Err(_), Err(RealErrno::Any)) => true,
            (Err(given), Err(RealErrno::This(expected))) => {
                has_its_own_error(operation, expected)
                    || *expected == format!("E{}", format!("{given:?}").to_uppercase())
            }
            _ => false,
        };
        if !agree {
            return Err(format!("{index}: {operation:?}\n  here: {given:?}\n  real: {expected:?}"));
        }
        ours.guest.fs().audit();
    }
    let given = ours.tree();
    let expected = real_tree(Path::new("/"));
    if given != expected { Err(format!("here: {given:#?}\nreal: {expected:#?}")) } else { Ok(()) }
}

/// The error of a real file system.
#[derive(Debug)]
enum RealErrno {
    /// The error has to be the same here.
    This(String),
    /// Any error will do here.
    Any,
}

impl RealErrno {
    fn of(error: &io::Error) -> Self {
        match nix::errno::Errno::from_raw(error.raw_os_error().unwrap()) {
            // Linux returns it for names that end in dots, `RealFs::open` for any error.
            nix::errno::Errno::EBUSY => RealErrno::Any,
            errno => RealErrno::This(format!("{errno:?}")),
        }
    }
}

/// True if our error is meant to differ: see the exceptions above.
fn has_its_own_error(operation: &Operation, expected: &str) -> bool {
    let dotted = |at: &PathAt| {
        let path = at.path.trim_end_matches('/');
        path.is_empty() || path.rsplit('/').next().is_some_and(|name| name == "." || name == "..")
    };
    match operation {
        Operation::MakeDirectory { at }
        | Operation::RemoveDirectory { at }
        | Operation::Unlink { at }
        | Operation::Link { at, .. } => dotted(at),
        Operation::Rename { from, to } => dotted(from) || dotted(to) || expected == "ENOTEMPTY",
        Operation::Open { at, how, .. } => {
            how.oflags & oflags::CREATE != 0 && (dotted(at) || at.path.ends_with('/'))
        }
        _ => false,
    }
}

/// The real side, in a thread whose root is a temporary directory.
pub struct RealFs {
    root: OwnedFd,
    slots: [Option<File>; SLOTS],
    append: [bool; SLOTS],
}

impl RealFs {
    pub fn enter(directory: &Path) -> io::Result<Self> {
        // From here on, this thread has a root and a working directory of its own.
        unshare(CloneFlags::CLONE_FS)?;
        std::os::unix::fs::chroot(directory)?;
        std::env::set_current_dir("/")?;
        Ok(Self {
            root: File::open("/")?.into(),
            slots: Default::default(),
            append: Default::default(),
        })
    }

    fn base(&self, at: &PathAt) -> BorrowedFd<'_> {
        at.base.and_then(|slot| self.slots[slot].as_ref()).map_or(self.root.as_fd(), AsFd::as_fd)
    }

    fn is_directory(&self, slot: usize) -> bool {
        self.slots[slot].as_ref().is_some_and(|file| file.metadata().unwrap().is_dir())
    }

    /// True if the results are not compared: see the exceptions above.
    fn is_ours_to_decide(&self, operation: &Operation) -> bool {
        let leaves_removed = |at: &PathAt| {
            at.path.contains("..")
                && !at.path.starts_with('/')
                && fstat(self.base(at)).unwrap().st_nlink == 0
        };
        match operation {
            Operation::Write { slot, offset: Some(_), .. } => self.append[*slot],
            Operation::Seek { slot, .. } => self.is_directory(*slot),
            Operation::Open { at, .. }
            | Operation::MakeDirectory { at }
            | Operation::RemoveDirectory { at }
            | Operation::Unlink { at }
            | Operation::Link { at, .. }
            | Operation::ReadLink { at }
            | Operation::StatPath { at, .. } => leaves_removed(at),
            Operation::Rename { from, to } => leaves_removed(from) || leaves_removed(to),
            _ => false,
        }
    }

    fn run(&mut self, operation: &Operation) -> io::Result<OperationResult> {
        let file = |slot: &usize| self.slots[*slot].as_ref();
        Ok(match operation {
            Operation::Open { slot, at, how } => {
                self.slots[*slot] = None;
                self.append[*slot] = how.fdflags & FDFLAG_APPEND != 0;
                self.slots[*slot] = Some(self.open(at, how)?);
                OperationResult::Nothing
            }
            Operation::Close { slot } => match self.slots[*slot].take() {
                None => OperationResult::Skipped,
                Some(_) => OperationResult::Nothing,
            },
            Operation::Read { slot, len, offset } => {
                let Some(mut file) = file(slot) else { return Ok(OperationResult::Skipped) };
                let mut buffer = vec![0; *len as usize];
                let count = match offset {
                    None => io::Read::read(&mut file, &mut buffer)?,
                    Some(offset) => file.read_at(&mut buffer, *offset)?,
                };
                buffer.truncate(count);
                OperationResult::Bytes(buffer)
            }
            Operation::Write { slot, bytes, offset } => {
                let Some(mut file) = file(slot) else { return Ok(OperationResult::Skipped) };
                let count = match offset {
                    None => io::Write::write(&mut file, bytes)?,
                    Some(offset) => file.write_at(bytes, *offset)?,
                };
                OperationResult::Number(count as u64)
            }
            Operation::Seek { slot, offset, whence } => {
                let Some(file) = file(slot) else { return Ok(OperationResult::Skipped) };
                let whence = match whence {
                    0 => nix::unistd::Whence::SeekSet,
                    1 => nix::unistd::Whence::SeekCur,
                    2 => nix::unistd::Whence::SeekEnd,
                    _ => return Err(nix::errno::Errno::EINVAL.into()),
                };
                OperationResult::Number(lseek(file, *offset, whence)? as u64)
            }
            Operation::SetLen { slot, len } => {
                let Some(file) = file(slot) else { return Ok(OperationResult::Skipped) };
                file.set_len(*len)?;
                OperationResult::Nothing
            }
            Operation::Stat { slot } => {
                let Some(file) = file(slot) else { return Ok(OperationResult::Skipped) };
                stat(fstat(file)?)
            }
            Operation::List { slot } => {
                let Some(file) = file(slot) else { return Ok(OperationResult::Skipped) };
                fchdir(file)?;
                let names = std::fs::read_dir(".")?
                    .map(|entry| entry.unwrap().file_name().into_string().unwrap());
                let mut names: Vec<String> = names.collect();
                names.sort();
                OperationResult::Names(names)
            }
            _ => return self.run_on_path(operation),
        })
    }

    fn run_on_path(&self, operation: &Operation) -> io::Result<OperationResult> {
        match operation {
            Operation::MakeDirectory { at } => {
                mkdirat(self.base(at), at.path.as_str(), Mode::S_IRWXU)?
            }
            Operation::RemoveDirectory { at } => {
                unlinkat(self.base(at), at.path.as_str(), UnlinkatFlags::RemoveDir)?;
            }
            Operation::Unlink { at } => {
                unlinkat(self.base(at), at.path.as_str(), UnlinkatFlags::NoRemoveDir)?
            }
            Operation::Rename { from, to } => {
                renameat(self.base(from), from.path.as_str(), self.base(to), to.path.as_str())?;
            }
            Operation::Link { target, at } => {
                symlinkat(target.as_str(), self.base(at), at.path.as_str())?
            }
            Operation::ReadLink { at } => {
                let target = readlinkat(self.base(at), at.path.as_str())?;
                return Ok(OperationResult::Text(target.into_string().unwrap()));
            }
            Operation::StatPath { at, follow } => {
                let flags = if *follow { AtFlags::empty() } else { AtFlags::AT_SYMLINK_NOFOLLOW };
                return Ok(stat(fstatat(self.base(at), at.path.as_str(), flags)?));
            }
            _ => unreachable!("{operation:?}"),
        }
        Ok(OperationResult::Nothing)
    }

    fn open(&self, at: &PathAt, how: &super::guest::OpenHow) -> io::Result<File> {
        let (base, path) = (self.base(at), at.path.as_str());
        let access = how.rights & (rights::FD_READ | rights::FD_WRITE);
        let mut flags = match access {
            rights::FD_READ => OFlag::O_RDONLY,
            rights::FD_WRITE => OFlag::O_WRONLY,
            _ => OFlag::O_RDWR,
        };
        for (ours, real) in [
            (oflags::CREATE, OFlag::O_CREAT),
            (oflags::EXCLUSIVE, OFlag::O_EXCL),
            (oflags::TRUNCATE, OFlag::O_TRUNC),
            (oflags::DIRECTORY, OFlag::O_DIRECTORY),
        ] {
            flags.set(real, how.oflags & ours != 0);
        }
        flags.set(OFlag::O_APPEND, how.fdflags & FDFLAG_APPEND != 0);
        flags.set(OFlag::O_NOFOLLOW, !how.follow);
        let is_link = |stat: FileStat| {
            SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) == SFlag::S_IFLNK
        };
        let through_link = flags.contains(OFlag::O_CREAT)
            && !flags.contains(OFlag::O_NOFOLLOW)
            && fstatat(base, path, AtFlags::AT_SYMLINK_NOFOLLOW).is_ok_and(is_link);
        match fstatat(base, path, AtFlags::empty()) {
            Err(nix::errno::Errno::ENOENT) if through_link => {
                return Err(nix::errno::Errno::EEXIST.into());
            }
            // Linux has several errors for a path that cannot be created, such as `EISDIR` for a
            // link whose target ends in a slash.
            Err(_) if through_link => return Err(nix::errno::Errno::EBUSY.into()),
            _ => {}
        }
        Ok(openat(base, path, flags, Mode::S_IRUSR | Mode::S_IWUSR)?.into())
    }
}

fn stat(stat: FileStat) -> OperationResult {
    let (kind, size) = match SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) {
        SFlag::S_IFDIR => (DIRECTORY, 0),
        SFlag::S_IFLNK => (LINK, stat.st_size as u64),
        SFlag::S_IFREG => (FILE, stat.st_size as u64),
        other => panic!("{other:?}"),
    };
    OperationResult::Stat(kind, size)
}

/// Returns all paths below `directory`, each with a text for its content.
fn real_tree(directory: &Path) -> Vec<(String, String)> {
    let mut tree = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let kind = path.symlink_metadata().unwrap().file_type();
        let content = if kind.is_dir() {
            tree.extend(real_tree(&path));
            "directory".to_owned()
        } else if kind.is_symlink() {
            format!("link to {}", path.read_link().unwrap().display())
        } else {
            format!("{:?}", std::fs::read(&path).unwrap())
        };
        tree.push((path.display().to_string(), content));
    }
    tree.sort();
    tree
}
