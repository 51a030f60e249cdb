//! Bytes and number of files in a cell's directory, and of files that only an open descriptor holds.

use std::{
    collections::HashSet,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use cellblock_exec::Limits;

/// What files there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Files {
    /// Their bytes.
    pub bytes: u64,
    /// Their number, directories included.
    pub count: u64,
}

/// Longer paths are not followed: they count as more files than any limit allows. Linux takes no longer ones.
const LONGEST: usize = 4000;

/// Looks through the files of a cell until a limit is exceeded. What processes hold of removed files takes longer to find,
/// and is looked for if `held` is true.
pub(crate) fn look(directory: &Path, processes: &[i32], limits: &Limits, held: bool) -> Files {
    let mut files = Files::default();
    let mut linked = HashSet::new();
    let over = |files: &Files| files.bytes > limits.disk || files.count > u64::from(limits.files);
    let mut waiting: Vec<PathBuf> = vec![directory.join("workspace"), directory.join("tmp")];
    while let Some(next) = waiting.pop() {
        for entry in fs::read_dir(&next).into_iter().flatten().flatten() {
            let Ok(found) = entry.metadata() else { continue };
            files.count += 1;
            if found.is_dir() {
                let path = entry.path();
                if path.as_os_str().len() > LONGEST {
                    return Files { count: u64::MAX, ..files };
                }
                waiting.push(path);
            } else if found.nlink() == 1 || linked.insert((found.dev(), found.ino())) {
                files.bytes += size(&found);
            }
            if over(&files) {
                return files;
            }
        }
    }
    if !held {
        return files;
    }
    let device = fs::metadata(directory).map_or(0, |found| found.dev());
    for pid in processes {
        let (open, mapped) = (removed_and_open(*pid, device), removed_and_mapped(*pid, directory));
        for (number, bytes) in open.into_iter().chain(mapped) {
            if linked.insert((device, number)) {
                files.bytes += bytes;
                files.count += 1;
            }
        }
        if over(&files) {
            return files;
        }
    }
    files
}

/// Removed files of a device that a process has open: their numbers and sizes.
fn removed_and_open(pid: i32, device: u64) -> Vec<(u64, u64)> {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    // This follows the descriptor to its file.
    let open = descriptors.filter_map(|descriptor| fs::metadata(descriptor.path()).ok());
    open.filter(|found| found.is_file() && found.nlink() == 0 && found.dev() == device)
        .map(|found| (found.ino(), size(&found)))
        .collect()
}

/// Removed files of a directory that a process has in its memory only: their numbers, and how much of them is mapped.
fn removed_and_mapped(pid: i32, directory: &Path) -> Vec<(u64, u64)> {
    // Lines: `start-end rights offset device number path (deleted)`.
    let text = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    let inside = directory.to_string_lossy();
    let removed =
        text.lines().filter(|line| line.ends_with(" (deleted)") && line.contains(&*inside));
    removed
        .filter_map(|line| {
            let mut fields = line.split_whitespace();
            let (start, end) = fields.next()?.split_once('-')?;
            let length = u64::from_str_radix(end, 16)
                .ok()?
                .checked_sub(u64::from_str_radix(start, 16).ok()?)?;
            Some((fields.nth(3)?.parse().ok()?, length))
        })
        .collect()
}

/// What a file has taken, or will when its holes are filled.
fn size(found: &fs::Metadata) -> u64 {
    found.len().max(found.blocks() * 512)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_links_and_removed_files_are_counted() {
        let directory = tempfile::tempdir().unwrap();
        let workspace = directory.path().join("workspace");
        fs::create_dir_all(workspace.join("a/b")).unwrap();
        fs::write(workspace.join("a/one"), vec![0; 5000]).unwrap();
        fs::hard_link(workspace.join("a/one"), workspace.join("two")).unwrap();
        fs::File::create(workspace.join("hole")).unwrap().set_len(1 << 20).unwrap();
        let limits = Limits::default();
        let own = [std::process::id() as i32];
        let files = look(directory.path(), &own, &limits, true);
        assert_eq!(files.count, 5);
        assert!((5000 + (1 << 20)..(1 << 20) + 20_000).contains(&files.bytes), "{files:?}");
        let held = fs::File::create(workspace.join("held")).unwrap();
        held.set_len(1 << 21).unwrap();
        fs::remove_file(workspace.join("held")).unwrap();
        let with_held = look(directory.path(), &own, &limits, true);
        assert_eq!(with_held.bytes - files.bytes, 1 << 21);
        assert_eq!(look(directory.path(), &own, &limits, false), files);
        drop(held);
        assert_eq!(look(directory.path(), &own, &limits, true), files);
        assert!(look(directory.path(), &own, &Limits { files: 2, ..limits }, true).count <= 3);
    }
}
