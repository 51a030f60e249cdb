//! Input files: the files of a directory that are copied into the workspace.

use std::{fs::File, io::Read as _, path::Path, sync::Arc};

use anyhow::{Context as _, Result};
use cellblock_exec::{InputFile, Limits, workspace::workspace_path};
use walkdir::{DirEntry, WalkDir};

use crate::{failure::usage, render::text::format_bytes};

/// The files of a directory.
#[derive(Debug, Default)]
pub struct InputFiles {
    /// Files to copy into the workspace.
    pub files: Vec<InputFile>,
    /// A line for each entry that is not copied, with the reason.
    pub skipped: Vec<String>,
}

/// Reads the files of `directory` in order of their names. Does not follow links, which could lead
/// anywhere on this machine. Leaves out `out`, the directory with artifacts of earlier runs.
///
/// # Errors
/// If `directory` is not a directory, or a file cannot be read.
pub fn read(directory: &Path, out: &Path, limits: &Limits) -> Result<InputFiles> {
    if !directory.is_dir() {
        return Err(usage(
            format!("`{}` is not a directory", directory.display()),
            "give --workspace the directory of the input files",
        ));
    }
    let out = out.canonicalize().ok();
    // Only a directory can be the output directory, and resolving each file would be slow.
    let is_out = |entry: &DirEntry| {
        entry.file_type().is_dir() && out.is_some() && entry.path().canonicalize().ok() == out
    };
    let walk = WalkDir::new(directory).min_depth(1).sort_by_file_name().into_iter();
    let mut inputs = InputFiles::default();
    let mut room = limits.disk;
    for entry in walk.filter_entry(|entry| !is_out(entry)) {
        let entry = entry
            .with_context(|| format!("cannot read the workspace `{}`", directory.display()))?;
        if entry.file_type().is_dir() {
            continue;
        }
        let relative = entry.path().strip_prefix(directory).unwrap_or(entry.path());
        let path = match path_in_workspace(&entry, relative) {
            Ok(path) => path,
            Err(why) => {
                inputs.skipped.push(skipped(relative, &why));
                continue;
            }
        };
        if inputs.files.len() as u64 >= u64::from(limits.files) {
            inputs.skipped.push(format!(
                "`{path}` and the files after it were not copied: --files is {}",
                limits.files
            ));
            break;
        }
        let Some(content) = content(entry.path(), room)? else {
            let why = format!("it is too large, --disk has {} remaining", format_bytes(room));
            inputs.skipped.push(skipped(relative, &why));
            continue;
        };
        room -= content.len() as u64;
        inputs.files.push(InputFile { path, content: Arc::new(content) });
    }
    Ok(inputs)
}

/// Returns the path that an entry gets in the workspace, or the reason why it is not copied.
fn path_in_workspace(entry: &DirEntry, relative: &Path) -> Result<String, String> {
    if entry.file_type().is_symlink() {
        return Err("it is a symbolic link".into());
    }
    if !entry.file_type().is_file() {
        return Err("it is a device, a pipe or a socket".into());
    }
    let name = relative.to_str().ok_or_else(|| "its name is not UTF-8".to_owned())?;
    workspace_path(name).map_err(|refused| refused.to_string())
}

/// Returns the content of a file; `None` if it is larger than `room` bytes.
fn content(path: &Path, room: u64) -> Result<Option<Vec<u8>>> {
    let mut content = Vec::new();
    // One byte more than there is room for: the file may be growing.
    File::open(path)
        .and_then(|file| file.take(room.saturating_add(1)).read_to_end(&mut content))
        .with_context(|| format!("cannot read `{}`", path.display()))?;
    Ok((content.len() as u64 <= room).then_some(content))
}

fn skipped(path: &Path, why: &str) -> String {
    format!("`{}` was not copied: {why}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_files_that_fit_are_copied() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::create_dir_all(path("sub/deep")).unwrap();
        std::fs::create_dir(path("out")).unwrap();
        std::fs::write(path("sub/deep/a.csv"), "1,2").unwrap();
        std::fs::write(path("b.txt"), "text").unwrap();
        std::fs::write(path("large.bin"), vec![0; 2000]).unwrap();
        std::fs::write(path("out/old.png"), "old").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", path("link")).unwrap();
        std::os::unix::fs::symlink("/etc", path("sub/etc")).unwrap();
        std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
        let limits = Limits { disk: 1000, ..Limits::default() };
        let inputs = read(directory.path(), &path("out"), &limits).unwrap();
        let files: Vec<_> =
            inputs.files.iter().map(|file| (file.path.as_str(), file.content.len())).collect();
        assert_eq!(files, [("b.txt", 4), ("sub/deep/a.csv", 3)]);
        assert_eq!(
            inputs.skipped,
            [
                "`large.bin` was not copied: it is too large, --disk has 996 B remaining",
                "`link` was not copied: it is a symbolic link",
                "`socket` was not copied: it is a device, a pipe or a socket",
                "`sub/etc` was not copied: it is a symbolic link",
            ]
        );
        let few = Limits { files: 1, ..Limits::default() };
        let inputs = read(directory.path(), &path("out"), &few).unwrap();
        assert_eq!((inputs.files.len(), inputs.skipped.len()), (1, 1), "{:?}", inputs.skipped);
    }
}
