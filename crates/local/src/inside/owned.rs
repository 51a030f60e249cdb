//! Parts of the system that belong to the user whom programs run as.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use nix::unistd::Uid;

/// The depth to which directories below `/usr` are looked at.
/// `/usr/local/lib/python3/site-packages` is four.
const DEPTH: usize = 4;

/// Tells whether this user owns a directory of the system, such as a `/usr/local` that was handed over
/// for an installer's sake. The owner of a single file in others' directories is not looked for.
pub(crate) fn owns_system_directories(user: Uid) -> bool {
    owns_below(Path::new("/usr"), user, DEPTH)
}

fn owns_below(directory: &Path, user: Uid, depth: usize) -> bool {
    let own = fs::symlink_metadata(directory).is_ok_and(|found| found.uid() == user.as_raw());
    if own || depth == 0 {
        return own;
    }
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut inner = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    inner.any(|entry| owns_below(&entry.path(), user, depth - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_own_directory_is_found_where_others_are_above_it() {
        let top = tempfile::tempdir().unwrap();
        fs::create_dir_all(top.path().join("a/b")).unwrap();
        let (own, other) = (Uid::effective(), Uid::from_raw(4_000_000));
        assert!(owns_below(top.path(), own, 0));
        assert!(!owns_below(top.path(), other, 4));
        assert!(!own.is_root() || owns_system_directories(own), "the system is root's");
        if own.is_root() {
            std::os::unix::fs::chown(top.path().join("a/b"), Some(other.as_raw()), None).unwrap();
            assert!(owns_below(top.path(), other, 2) && !owns_below(top.path(), other, 1));
        }
    }
}
