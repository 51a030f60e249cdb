//! Reading a file of an object, and walking the files of an object or of an installed package.

use std::{fs, io, path::Path};

use cellblock_exec::Result;
use serde::de::DeserializeOwned;

use crate::error::storage_error;

/// Reads a value from a JSON file of ours.
///
/// # Errors
/// The file cannot be read, or is not the JSON of such a value.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = fs::read(path).map_err(|source| storage_error("read", path, source))?;
    serde_json::from_slice(&text).map_err(|source| storage_error("parse", path, source.into()))
}

/// Visits all files below `directory`, sorted by name within each directory. `visit` gets the path
/// relative to `directory`, written with `/`, and the path itself.
///
/// # Errors
/// Errors of `visit` and of reading; an error for anything that is neither a file nor a directory
/// (a link, a device), and for a name that is not UTF-8. A wheel contains none of these.
pub fn visit_files(
    directory: &Path,
    visit: &mut dyn FnMut(&str, &Path) -> io::Result<()>,
) -> io::Result<()> {
    visit_below(directory, "", visit)
}

fn visit_below(
    directory: &Path,
    prefix: &str,
    visit: &mut dyn FnMut(&str, &Path) -> io::Result<()>,
) -> io::Result<()> {
    let mut entries: Vec<fs::DirEntry> = fs::read_dir(directory)?.collect::<io::Result<_>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let refused =
            || io::Error::other(format!("`{}` is not a plain file or directory", path.display()));
        let name = format!("{prefix}{}", entry.file_name().to_str().ok_or_else(refused)?);
        let kind = entry.file_type()?;
        if kind.is_dir() {
            visit_below(&path, &format!("{name}/"), visit)?;
        } else if kind.is_file() {
            visit(&name, &path)?;
        } else {
            return Err(refused());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink, path::Path};

    use super::visit_files;

    #[test]
    fn a_link_is_not_taken_for_a_file() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("deep")).unwrap();
        for name in ["b", "deep/c", "a"] {
            fs::write(directory.path().join(name), name).unwrap();
        }
        let mut seen = Vec::new();
        let mut visit = |name: &str, path: &Path| {
            assert_eq!(fs::read_to_string(path)?, name);
            seen.push(name.to_owned());
            Ok(())
        };
        visit_files(directory.path(), &mut visit).unwrap();
        assert_eq!(seen, ["a", "b", "deep/c"]);
        symlink("/etc/passwd", directory.path().join("deep/link")).unwrap();
        let why = visit_files(directory.path(), &mut |_, _| Ok(())).unwrap_err().to_string();
        assert!(why.contains("deep/link"), "{why}");
    }
}
