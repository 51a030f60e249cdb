//! Resources that processes hold and that neither their memory nor a walk through files shows:
//! removed files that are open or mapped, and data that waits in sockets and pipes.

use std::{
    collections::HashSet,
    fs,
    io::{self, ErrorKind},
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
};

use nix::errno::Errno;

/// The maximum that a pipe holds, in bytes: its capacity when it is made. The kernel bounds larger
/// pipes for all pipes of a user together.
const PIPE: u64 = 64 * 1024;

/// The kernel's mark behind the path of a removed file.
const REMOVED: &str = " (deleted)";

/// The resources that processes hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HeldResources {
    /// Bytes of removed files.
    pub bytes: u64,
    /// Number of removed files.
    pub count: u64,
    /// Bytes that may wait in sockets and pipes.
    pub buffers: u64,
    /// True if a process does not let us look into it.
    pub hidden: bool,
    /// True if a process holds a removed file of unknown size.
    pub unknown: bool,
}

/// Looks at the resources that processes hold. Removed files count if they were in `directory`.
pub fn look(processes: &[i32], directory: Option<&Path>) -> HeldResources {
    // The kernel reports files by this path. Devices would not identify them: an overlay has one
    // device for its directories and others for files.
    let directory = directory.and_then(|at| at.canonicalize().ok());
    let (mut held, mut unknown) = look_once(processes, directory.as_deref());
    if !unknown.is_empty() {
        // A file that was opened, removed and mapped during the look has a descriptor now.
        let before = unknown;
        (held, unknown) = look_once(processes, directory.as_deref());
        held.unknown = !unknown.is_disjoint(&before);
    }
    held
}

/// Looks once. Also returns the inode numbers of removed files that are mapped and whose size is
/// unknown.
fn look_once(processes: &[i32], directory: Option<&Path>) -> (HeldResources, HashSet<u64>) {
    let mut look = Look { directory, held: HeldResources::default(), seen: HashSet::new() };
    for pid in processes {
        // The program itself may be a removed file. If we cannot see that, we cannot see the
        // descriptors either, which is checked below.
        let _ = look.at(&PathBuf::from(format!("/proc/{pid}/exe")));
    }
    for task in processes.iter().flat_map(|pid| tasks(*pid)) {
        let looked = fs::read_dir(task.join("fd")).and_then(|mut descriptors| {
            descriptors.try_for_each(|descriptor| look.at(&descriptor?.path()))
        });
        let is_refused = looked.is_err_and(|error| error.kind() == ErrorKind::PermissionDenied);
        look.held.hidden |= is_refused && has_memory(&task);
    }
    let mut unknown = HashSet::new();
    let Some(directory) = directory else { return (look.held, unknown) };
    let mut known: HashSet<u64> = look.seen.iter().map(|(_, number)| *number).collect();
    for (number, mapping) in processes.iter().flat_map(|pid| removed_and_mapped(*pid, directory)) {
        // Only root can follow this link and see how long the file is.
        if known.insert(number) && look.at(&mapping).is_err() {
            unknown.insert(number);
        }
    }
    (look.held, unknown)
}

/// Returns the threads of a process: each can have descriptors of its own.
fn tasks(pid: i32) -> Vec<PathBuf> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"));
    tasks.into_iter().flatten().flatten().map(|task| task.path()).collect()
}

/// True if a thread still has memory. One that has ended belongs to root, whoever started it.
fn has_memory(task: &Path) -> bool {
    fs::read_to_string(task.join("status")).is_ok_and(|status| status.contains("\nVmSize:"))
}

/// One look at all processes.
struct Look<'a> {
    directory: Option<&'a Path>,
    held: HeldResources,
    /// The files, sockets and pipes that have been counted, by device and inode number.
    seen: HashSet<(u64, u64)>,
}

impl Look<'_> {
    /// Counts the target of a link in `/proc`. A link that is gone counts nothing.
    fn at(&mut self, link: &Path) -> io::Result<()> {
        use std::os::unix::fs::FileTypeExt as _;
        let found = match fs::metadata(link) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            found => found?,
        };
        let (key, kind) = ((found.dev(), found.ino()), found.file_type());
        if kind.is_socket() && self.seen.insert(key) {
            self.held.buffers += socket_buffer();
        } else if kind.is_fifo() && self.seen.insert(key) {
            self.held.buffers += PIPE;
        } else if found.is_file() && self.was_inside(link) && self.seen.insert(key) {
            self.held.bytes += found.len().max(found.blocks() * 512);
            self.held.count += 1;
        }
        Ok(())
    }

    /// True if the link leads to a removed file of the directory, judged by the path that the
    /// kernel still knows: the number of names is not right on every file system. A path that is
    /// too long for the kernel to report counts as one of the directory.
    fn was_inside(&self, link: &Path) -> bool {
        let Some(directory) = self.directory else { return false };
        match fs::read_link(link) {
            Ok(path) => {
                let is_removed = path.as_os_str().as_bytes().ends_with(REMOVED.as_bytes());
                is_removed && path.starts_with(directory)
            }
            Err(error) => error.raw_os_error() == Some(Errno::ENAMETOOLONG as i32),
        }
    }
}

/// Returns the bytes that may wait in one socket to be read: as many as another may have sent. The
/// kernel allows twice the setting, for its own needs.
fn socket_buffer() -> u64 {
    static BYTES: std::sync::OnceLock<u64> = std::sync::OnceLock::new();
    *BYTES.get_or_init(|| {
        let text = fs::read_to_string("/proc/sys/net/core/wmem_max").unwrap_or_default();
        2 * text.trim().parse::<u64>().unwrap_or(212_992)
    })
}

/// Returns the removed files of a directory that a process has mapped: their inode numbers, and the
/// kernel's links to them.
fn removed_and_mapped(pid: i32, directory: &Path) -> Vec<(u64, PathBuf)> {
    // Lines: `start-end rights offset device number path (deleted)`.
    let text = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    let inside = format!(" {}/", directory.display());
    let removed = text.lines().filter(|line| line.ends_with(REMOVED) && line.contains(&inside));
    removed
        .filter_map(|line| {
            let mut fields = line.split_whitespace();
            let range = fields.next()?;
            let number = fields.nth(3)?.parse().ok()?;
            Some((number, PathBuf::from(format!("/proc/{pid}/map_files/{range}"))))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn removed_files_and_buffers_are_counted() {
        let directory = tempfile::tempdir().unwrap();
        let own = [std::process::id() as i32];
        let counted = || look(&own, Some(directory.path()));
        assert_eq!((counted().bytes, counted().hidden), (0, false));
        let file = fs::File::create(directory.path().join("held")).unwrap();
        file.set_len(1 << 21).unwrap();
        assert_eq!(counted().bytes, 0, "it is not removed yet");
        fs::remove_file(directory.path().join("held")).unwrap();
        assert_eq!((counted().bytes, counted().count), (1 << 21, 1));
        let copy = file.try_clone().unwrap();
        assert_eq!(counted().count, 1, "once, however many descriptors it has");
        drop((file, copy));
        assert_eq!(counted().bytes, 0);
        let pairs: Vec<_> = (0..1000).map(|_| UnixStream::pair().unwrap()).collect();
        assert!(counted().buffers >= 2000 * socket_buffer());
        drop(pairs);
        // Other tests of this process have a few.
        assert!(counted().buffers < 1000 * socket_buffer());
    }
}
