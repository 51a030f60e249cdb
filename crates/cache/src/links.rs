//! Giving the files of an object to a session, as links or copies.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

use cellblock_exec::Result;

use crate::{error::storage_error, index::Index, objects::Objects};

impl Objects {
    /// Links the files of the object `id`, which [`Objects::get_or_make_shared`] made, into the
    /// directory `into`, except the files named in `except`.
    ///
    /// Directories are created as needed; a file that exists already stays. If `into` is on another
    /// file system than the cache, the files are copied.
    ///
    /// All may read the files and none may write them. But their owner can change that, and the
    /// cache would change with them: a program that runs as the user must see them on a read-only
    /// mount or under a Landlock rule. When the object is removed from the cache, its links keep
    /// the files.
    ///
    /// # Errors
    /// [`Error::Storage`](cellblock_exec::Error::Storage) when the object does not exist or `into`
    /// cannot be written.
    pub fn link_into(&self, id: &str, into: &Path, except: &[&str]) -> Result<()> {
        self.place_files(id, into, except, link)
    }

    /// Copies the files of an object, otherwise like [`Objects::link_into`].
    ///
    /// For programs that run as the user and see the files under a Landlock rule: as the owner they
    /// can change the permissions of a file that they may only read and, through a link, the
    /// permissions of the cache's file.
    ///
    /// # Errors
    /// As [`Objects::link_into`].
    pub fn copy_into(&self, id: &str, into: &Path, except: &[&str]) -> Result<()> {
        self.place_files(id, into, except, copy)
    }

    fn place_files(
        &self,
        id: &str,
        into: &Path,
        except: &[&str],
        place: fn(&Path, &Path) -> io::Result<()>,
    ) -> Result<()> {
        let object = self.path(id);
        let index = Index::read(&object)?;
        let mut made = PathBuf::new();
        for file in index.files.iter().filter(|file| !except.contains(&file.name.as_str())) {
            let path = into.join(&file.name);
            let mut place_one = || {
                // The files of one directory follow each other.
                if let Some(parent) = path.parent().filter(|parent| *parent != made) {
                    make_directories(into, parent)?;
                    made = parent.to_owned();
                }
                place(&object.join(&file.name), &path)
            };
            place_one().map_err(|source| storage_error("write", &path, source))?;
        }
        Ok(())
    }
}

/// Creates the directories from `top` down to `directory`, readable by all whatever the umask says.
fn make_directories(top: &Path, directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    if let Some(parent) = directory.parent().filter(|_| directory != top) {
        make_directories(top, parent)?;
    }
    DirBuilder::new().mode(0o755).create(directory)?;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755))
}

fn link(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        // Another file system, one without links, or too many links to the file.
        Err(_) => copy(from, to),
        Ok(()) => Ok(()),
    }
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    // As with links, a file that exists already stays.
    if fs::symlink_metadata(to).is_ok() { Ok(()) } else { fs::copy(from, to).map(drop) }
}
