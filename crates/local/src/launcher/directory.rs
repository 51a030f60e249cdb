//! The directory of a cell that has no file system of its own.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use nix::unistd::{Gid, Uid, chown};

use super::wire::Room;
use crate::inside::NOBODY;

/// Makes the directory with a workspace and a place for temporary files, for the user that programs run as.
pub(crate) fn make(path: &Path, root: bool) -> io::Result<()> {
    let private = |path: &Path| -> io::Result<()> {
        fs::DirBuilder::new().mode(0o700).create(path)?;
        if root {
            chown(path, Some(Uid::from_raw(NOBODY)), Some(Gid::from_raw(NOBODY)))?;
        }
        Ok(())
    };
    private(path)?;
    private(&path.join("workspace"))?;
    private(&path.join("tmp"))
}

/// Makes a directory that all may read and only this user may fill.
pub(crate) fn make_readable(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o755).create(path)?;
    // Whatever the mask of this process is.
    fs::set_permissions(path, Permissions::from_mode(0o755))
}

/// Removes the newest files and directories of a cell until the rest fits.
pub(crate) fn trim(top: &Path, room: Room) -> io::Result<()> {
    // A directory that has lost a file counts as new, and cannot go before the rest of its files.
    while trim_once(top, room)? {}
    Ok(())
}

/// Goes through all files once. Whether it has to be done again.
fn trim_once(top: &Path, room: Room) -> io::Result<bool> {
    let mut found = Vec::new();
    let mut waiting = vec![top.join("workspace"), top.join("tmp")];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            let size =
                if metadata.is_dir() { 0 } else { metadata.len().max(metadata.blocks() * 512) };
            found.push((
                (metadata.ctime(), metadata.ctime_nsec()),
                entry.path(),
                metadata.is_dir(),
                size,
            ));
            if metadata.is_dir() {
                waiting.push(entry.path());
            }
        }
    }
    let mut bytes: u64 = found.iter().map(|(_, _, _, size)| size).sum();
    let mut count = found.len() as u64;
    let before = count;
    // The newest last; of equals the deeper one, which must go before what holds it.
    found.sort_by_key(|(changed, path, _, _)| (*changed, path.components().count()));
    while bytes > room.disk || count > room.files {
        let Some((_, path, is_directory, size)) = found.pop() else { return Ok(count < before) };
        if count <= room.files && size == 0 {
            // It takes no room.
            continue;
        }
        let removed = if is_directory { fs::remove_dir(&path) } else { fs::remove_file(&path) };
        if removed.is_ok() {
            bytes -= size;
            count -= 1;
        }
    }
    Ok(false)
}

/// Removes a directory whatever a program made of it.
///
/// A chain of directories may be deeper than a path can be long, or than there are descriptors. So each directory that is
/// found is first moved to the top, and no path is ever longer than three parts.
pub(crate) fn remove(top: &Path) -> io::Result<()> {
    let mut next = 0u64;
    let mut waiting: Vec<PathBuf> = Vec::new();
    empty(top, top, &mut next, &mut waiting)?;
    while let Some(directory) = waiting.pop() {
        empty(&directory, top, &mut next, &mut waiting)?;
        fs::remove_dir(&directory)?;
    }
    fs::remove_dir(top)
}

/// Removes the files of a directory and moves its directories to the top.
fn empty(
    directory: &Path,
    top: &Path,
    next: &mut u64,
    waiting: &mut Vec<PathBuf>,
) -> io::Result<()> {
    fs::set_permissions(directory, Permissions::from_mode(0o700))?;
    // Read to its end first: what is moved to the top would be met again there.
    let entries: Vec<_> = fs::read_dir(directory)?.collect::<io::Result<_>>()?;
    for entry in entries {
        if !entry.file_type()?.is_dir() {
            fs::remove_file(entry.path())?;
            continue;
        }
        // Moving a directory changes it, so it must be writable.
        fs::set_permissions(entry.path(), Permissions::from_mode(0o700))?;
        let moved = loop {
            *next += 1;
            let moved = top.join(format!(".removing-{next}"));
            // The name could be one of the program's; a rename onto an empty directory would succeed and lose nothing.
            if fs::symlink_metadata(&moved).is_err() {
                break moved;
            }
        };
        fs::rename(entry.path(), &moved)?;
        waiting.push(moved);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
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
    fn deep_and_locked_directories_go() {
        let outer = tempfile::tempdir().unwrap();
        let kept = outer.path().join("kept");
        fs::write(&kept, "kept").unwrap();
        let top = outer.path().join("cell");
        fs::create_dir(&top).unwrap();
        let mut names = Vec::new();
        let mut at = top.clone();
        for _ in 0..50 {
            at.push("d".repeat(60));
            names.push(at.clone());
        }
        fs::create_dir_all(&at).unwrap();
        // Deeper than a path can be long.
        let deep = outer.path().join("deep");
        for _ in 0..4 {
            fs::rename(top.join("d".repeat(60)), &deep).unwrap();
            fs::create_dir_all(&at).unwrap();
            fs::rename(&deep, at.join("more")).unwrap();
        }
        std::os::unix::fs::symlink(&kept, top.join("link")).unwrap();
        std::os::unix::fs::symlink(outer.path(), top.join("up")).unwrap();
        fs::create_dir(top.join("locked")).unwrap();
        fs::write(top.join("locked/file"), "x").unwrap();
        fs::set_permissions(top.join("locked"), Permissions::from_mode(0o000)).unwrap();
        remove(&top).unwrap();
        assert!(!top.exists());
        assert_eq!(fs::read_to_string(&kept).unwrap(), "kept");
    }
}
