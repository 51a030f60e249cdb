//! What processes hold that neither their memory nor a walk through files shows: removed files that
//! are open or mapped, and what waits in sockets and pipes.

use std::{
    collections::HashSet,
    fs,
    io::{self, ErrorKind},
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
};

/// What a pipe holds at most, in bytes: what it has from the start. A larger one is bounded by the
/// kernel for all pipes of a user together.
const PIPE: u64 = 64 * 1024;

/// The kernel's mark behind the path of a removed file.
const REMOVED: &[u8] = b" (deleted)";

/// Files and buffers that processes hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Held {
    /// Bytes of removed files.
    pub bytes: u64,
    /// Number of removed files.
    pub count: u64,
    /// Bytes that may wait in sockets and pipes.
    pub buffers: u64,
    /// A process does not let itself be looked into.
    pub hidden: bool,
    /// A removed file of unknown size is held.
    pub unknown: bool,
}

/// Looks at what processes hold. Removed files are those of `directory`.
pub(crate) fn look(processes: &[i32], directory: Option<&Path>) -> Held {
    // As the kernel names files. Devices would not tell: an overlay has one for its directories and
    // others for files.
    let directory = directory.and_then(|at| at.canonicalize().ok());
    let (mut held, mut unknown) = look_once(processes, directory.as_deref());
    if !unknown.is_empty() {
        // A file that was opened, removed and mapped meanwhile has a descriptor now.
        let before = unknown;
        (held, unknown) = look_once(processes, directory.as_deref());
        held.unknown = !unknown.is_disjoint(&before);
    }
    held
}

/// Gives also the numbers of removed files that are mapped and whose size nobody tells.
fn look_once(processes: &[i32], directory: Option<&Path>) -> (Held, HashSet<u64>) {
    let mut look = Look { directory, held: Held::default(), seen: HashSet::new() };
    for pid in processes {
        // Its program may have been removed. Who cannot see that cannot see its descriptors either.
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
        // Only root may follow this link, and see how long the file is.
        if known.insert(number) && look.at(&mapping).is_err() {
            unknown.insert(number);
        }
    }
    (look.held, unknown)
}

/// The threads of a process: each can have descriptors of its own.
fn tasks(pid: i32) -> Vec<PathBuf> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"));
    tasks.into_iter().flatten().flatten().map(|task| task.path()).collect()
}

/// Whether a thread still has memory: one that has ended belongs to root, whoever it was.
fn has_memory(task: &Path) -> bool {
    fs::read_to_string(task.join("status")).is_ok_and(|status| status.contains("\nVmSize:"))
}

struct Look<'a> {
    directory: Option<&'a Path>,
    held: Held,
    /// The files, sockets and pipes that have been counted, by device and number.
    seen: HashSet<(u64, u64)>,
}

impl Look<'_> {
    /// Looks at what a link of `/proc` leads to. What is gone is nothing.
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

    /// Tells whether this leads to a removed file of the directory, by the path that the kernel
    /// still knows; the number of names is not right on every file system. A path that is longer than it
    /// can tell may be any.
    fn was_inside(&self, link: &Path) -> bool {
        let Some(directory) = self.directory else { return false };
        match fs::read_link(link) {
            Ok(path) => {
                path.starts_with(directory) && path.as_os_str().as_bytes().ends_with(REMOVED)
            }
            Err(error) => error.raw_os_error() == Some(nix::libc::ENAMETOOLONG),
        }
    }
}

/// What may wait in one socket to be read, in bytes: as much as another may have sent. The kernel
/// allows twice the setting, for what it needs itself.
fn socket_buffer() -> u64 {
    static BYTES: std::sync::OnceLock<u64> = std::sync::OnceLock::new();
    *BYTES.get_or_init(|| {
        let text = fs::read_to_string("/proc/sys/net/core/wmem_max").unwrap_or_default();
        2 * text.trim().parse::<u64>().unwrap_or(212_992)
    })
}

/// Removed files of a directory that a process has in its memory: their numbers, and where the
/// kernel has a link to them.
fn removed_and_mapped(pid: i32, directory: &Path) -> Vec<(u64, PathBuf)> {
    // Lines: `start-end rights offset device number path (deleted)`.
    let text = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    let inside = format!(" {}/", directory.display());
    let removed =
        text.lines().filter(|line| line.ends_with(" (deleted)") && line.contains(&inside));
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
