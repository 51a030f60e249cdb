//! What processes hold by their descriptors, which neither their memory nor a walk through files
//! shows: removed files, and what waits in sockets and pipes.

use std::{
    collections::HashSet,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// What a pipe holds at most, in bytes: what it has from the start. A larger one is bounded by the
/// kernel for all pipes of a user together.
const PIPE: u64 = 64 * 1024;

/// What descriptors hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Held {
    /// Bytes of removed files.
    pub bytes: u64,
    /// Number of removed files.
    pub count: u64,
    /// Bytes that may wait in sockets and pipes.
    pub buffers: u64,
    /// Whether a process does not let itself be looked into.
    pub hidden: bool,
}

/// Looks at the descriptors of processes. Removed files are those of `directory`; the ones in
/// `seen` have been counted already.
pub(crate) fn look(
    processes: &[i32],
    directory: Option<&Path>,
    seen: &mut HashSet<(u64, u64)>,
) -> Held {
    // As the kernel names files. Devices would not tell: an overlay has one for its directories and
    // others for files.
    let directory = directory.and_then(|at| at.canonicalize().ok());
    let mut held = Held::default();
    let mut buffers = HashSet::new();
    for task in processes.iter().flat_map(|pid| tasks(*pid)) {
        match fs::read_dir(task.join("fd")) {
            Ok(descriptors) => {
                let descriptors = descriptors.flatten().map(|descriptor| descriptor.path());
                for descriptor in descriptors {
                    look_at(&descriptor, directory.as_deref(), seen, &mut buffers, &mut held);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                held.hidden |= has_memory(&task);
            }
            Err(_) => {}
        }
        let Some(directory) = &directory else { continue };
        for (file, bytes) in removed_and_mapped(&task, directory) {
            if seen.insert(file) {
                held.bytes += bytes;
                held.count += 1;
            }
        }
    }
    held
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

fn look_at(
    descriptor: &Path,
    directory: Option<&Path>,
    seen: &mut HashSet<(u64, u64)>,
    buffers: &mut HashSet<(u64, u64)>,
    held: &mut Held,
) {
    use std::os::unix::fs::FileTypeExt as _;
    // This follows the descriptor to what it is open for.
    let Ok(found) = fs::metadata(descriptor) else { return };
    let (key, kind) = ((found.dev(), found.ino()), found.file_type());
    if kind.is_socket() && buffers.insert(key) {
        held.buffers += socket_buffer();
    } else if kind.is_fifo() && buffers.insert(key) {
        held.buffers += PIPE;
    } else if let (true, 0, Some(directory)) = (found.is_file(), found.nlink(), directory) {
        // The kernel still knows where the file was.
        let inside = fs::read_link(descriptor).is_ok_and(|name| name.starts_with(directory));
        if inside && seen.insert(key) {
            held.bytes += found.len().max(found.blocks() * 512);
            held.count += 1;
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

/// Removed files of a directory that a process has in its memory: what tells them apart, and how
/// much of them is mapped.
fn removed_and_mapped(task: &Path, directory: &Path) -> Vec<((u64, u64), u64)> {
    // Lines: `start-end rights offset device number path (deleted)`.
    let text = fs::read_to_string(task.join("maps")).unwrap_or_default();
    let inside = format!(" {}/", directory.display());
    let removed =
        text.lines().filter(|line| line.ends_with(" (deleted)") && line.contains(&inside));
    removed
        .filter_map(|line| {
            let mut fields = line.split_whitespace();
            let (start, end) = fields.next()?.split_once('-')?;
            let (start, end) = (u64::from_str_radix(start, 16), u64::from_str_radix(end, 16));
            let (_, _, device) = (fields.next()?, fields.next()?, fields.next()?);
            let (major, minor) = device.split_once(':')?;
            let number = |text| u64::from_str_radix(text, 16).ok();
            let device = nix::sys::stat::makedev(number(major)?, number(minor)?);
            let file = (device, fields.next()?.parse().ok()?);
            Some((file, end.ok()?.checked_sub(start.ok()?)?))
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
        let counted = || look(&own, Some(directory.path()), &mut HashSet::new());
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
