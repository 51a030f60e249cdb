//! Input files: what of a directory goes into the workspace.

use std::{io::Read as _, path::Path, sync::Arc};

use anyhow::{Context as _, Result};
use cellblock_exec::{InputFile, Limits, workspace::workspace_path};
use walkdir::WalkDir;

use crate::{failure::usage, units};

/// The files of a directory, and what was left out, each with the reason.
#[derive(Debug, Default)]
pub struct Inputs {
    /// Files to put into the workspace.
    pub files: Vec<InputFile>,
    /// A line for each entry that was left out.
    pub left_out: Vec<String>,
}

/// Reads the files of `directory`, in order of their names. Links are not followed: one could lead anywhere on this
/// machine. `out`, where artifacts of earlier runs lie, is left out.
pub fn read(directory: &Path, out: &Path, limits: &Limits) -> Result<Inputs> {
    if !directory.is_dir() {
        let message = format!("{} is no directory", directory.display());
        return Err(usage(message, "--workspace takes the directory that holds the input files"));
    }
    let out = out.canonicalize().ok();
    let mut inputs = Inputs::default();
    let mut room = limits.disk;
    let walk = WalkDir::new(directory).min_depth(1).sort_by_file_name().into_iter().filter_entry(
        |entry| {
            // Only a directory can be the output directory, and resolving each file would be slow.
            !(entry.file_type().is_dir()
                && out.is_some()
                && entry.path().canonicalize().ok() == out)
        },
    );
    for entry in walk {
        let entry =
            entry.with_context(|| format!("cannot read the workspace {}", directory.display()))?;
        let kind = entry.file_type();
        if kind.is_dir() {
            continue;
        }
        let relative = entry.path().strip_prefix(directory).unwrap_or(entry.path());
        let mut leave_out =
            |why: &str| inputs.left_out.push(format!("{}: left out, {why}", relative.display()));
        if kind.is_symlink() {
            leave_out("it is a symbolic link");
            continue;
        }
        if !kind.is_file() {
            leave_out("it is a device, a pipe or a socket");
            continue;
        }
        let path = match relative.to_str().map(workspace_path) {
            Some(Ok(path)) => path,
            Some(Err(refused)) => {
                leave_out(&refused.to_string());
                continue;
            }
            None => {
                leave_out("its name is not UTF-8");
                continue;
            }
        };
        if inputs.files.len() as u64 >= u64::from(limits.files) {
            let why = format!("there are {} files before it, and that is the limit", limits.files);
            inputs.left_out.push(format!("{path} and what follows: left out, {why}"));
            break;
        }
        // Read one byte more than there is room for: the file may have grown since its size was told.
        let mut content = Vec::new();
        let file = std::fs::File::open(entry.path());
        let read =
            file.and_then(|file| file.take(room.saturating_add(1)).read_to_end(&mut content));
        read.with_context(|| format!("cannot read {}", entry.path().display()))?;
        if content.len() as u64 > room {
            leave_out(&format!("it is too large: {} are left of --disk", units::bytes(room)));
            continue;
        }
        room -= content.len() as u64;
        inputs.files.push(InputFile { path, content: Arc::new(content) });
    }
    Ok(inputs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_files_that_fit_go_in() {
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
            inputs.left_out,
            [
                "large.bin: left out, it is too large: 996 B are left of --disk",
                "link: left out, it is a symbolic link",
                "socket: left out, it is a device, a pipe or a socket",
                "sub/etc: left out, it is a symbolic link",
            ]
        );
        let few = Limits { files: 1, ..Limits::default() };
        let inputs = read(directory.path(), &path("out"), &few).unwrap();
        assert_eq!((inputs.files.len(), inputs.left_out.len()), (1, 1), "{:?}", inputs.left_out);
    }
}
