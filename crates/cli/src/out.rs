//! Writing artifacts: inside the output directory, whole or not at all.

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use cap_std::{ambient_authority, fs::Dir};
use cap_tempfile::TempFile;
use cellblock_exec::{Artifact, filename::workspace_path};

/// Writes an artifact into `directory`, which is made when it does not exist, and gives the path of the file.
///
/// The name comes from a program that nobody trusts. So the path is checked, each directory on the way must be a real one
/// and no link, and the content goes to a new file that takes the name's place at the end: a link of that name is
/// replaced and not followed, a directory stays.
///
/// # Errors
/// When the name is unsafe, something is in the way, or the file cannot be written.
pub fn write(directory: &Path, artifact: &Artifact) -> io::Result<PathBuf> {
    let path = workspace_path(&artifact.path)
        .map_err(|refused| io::Error::new(io::ErrorKind::InvalidInput, refused))?;
    std::fs::create_dir_all(directory)?;
    let mut parent = Dir::open_ambient_dir(directory, ambient_authority())?;
    let (parents, name) = path.rsplit_once('/').unwrap_or(("", &path));
    for component in parents.split('/').filter(|component| !component.is_empty()) {
        match parent.create_dir(component) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        if !parent.symlink_metadata(component)?.is_dir() {
            let message = format!("{component} is in the way: it is no directory");
            return Err(io::Error::new(io::ErrorKind::NotADirectory, message));
        }
        // Should a link take its place here, it still cannot lead out of `parent`.
        parent = parent.open_dir(component)?;
    }
    if parent.symlink_metadata(name).is_ok_and(|metadata| metadata.is_dir()) {
        return Err(io::Error::new(
            io::ErrorKind::IsADirectory,
            "a directory of that name is in the way",
        ));
    }
    let mut file = TempFile::new(&parent)?;
    file.write_all(&artifact.content)?;
    file.replace(name)?;
    Ok(directory.join(path))
}

#[cfg(test)]
mod tests {
    use std::{fs, sync::Arc};

    use super::*;

    fn artifact(path: &str) -> Artifact {
        let content = Arc::new(b"new".to_vec());
        Artifact { path: path.into(), media_type: "text/plain".into(), bytes: 3, content }
    }

    #[test]
    fn files_land_in_the_directory() {
        let outer = tempfile::tempdir().unwrap();
        let out = outer.path().join("made/on/demand");
        assert_eq!(write(&out, &artifact("charts/a.png")).unwrap(), out.join("charts/a.png"));
        write(&out, &artifact("charts/a.png")).unwrap();
        assert_eq!(fs::read(out.join("charts/a.png")).unwrap(), b"new");
        assert_eq!(
            fs::read_dir(out.join("charts")).unwrap().count(),
            1,
            "no temporary file is left"
        );
    }

    #[test]
    fn nothing_leaves_the_directory() {
        let outer = tempfile::tempdir().unwrap();
        let (out, elsewhere) = (outer.path().join("out"), outer.path().join("elsewhere"));
        fs::create_dir_all(&out).unwrap();
        fs::create_dir_all(&elsewhere).unwrap();
        fs::write(elsewhere.join("victim.txt"), "old").unwrap();
        std::os::unix::fs::symlink(&elsewhere, out.join("dir")).unwrap();
        std::os::unix::fs::symlink(elsewhere.join("victim.txt"), out.join("link.txt")).unwrap();
        let absolute = elsewhere.join("new.txt").display().to_string();
        for path in [
            "../elsewhere/new.txt",
            "dir/new.txt",
            "dir/victim.txt",
            absolute.as_str(),
            "",
            "a/../../x",
            "..",
            "x\0y",
        ] {
            assert!(write(&out, &artifact(path)).is_err(), "{path}");
        }
        write(&out, &artifact("link.txt")).unwrap();
        assert!(
            fs::symlink_metadata(out.join("link.txt")).unwrap().is_file(),
            "the link was replaced"
        );
        assert_eq!(fs::read(elsewhere.join("victim.txt")).unwrap(), b"old");
        assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 1);
    }

    #[test]
    fn a_directory_is_not_overwritten() {
        let out = tempfile::tempdir().unwrap();
        fs::create_dir_all(out.path().join("name/kept")).unwrap();
        assert!(write(out.path(), &artifact("name")).is_err());
        assert!(out.path().join("name/kept").is_dir());
        fs::write(out.path().join("file"), "old").unwrap();
        assert!(write(out.path(), &artifact("file/below")).is_err());
        assert_eq!(fs::read(out.path().join("file")).unwrap(), b"old");
    }
}
