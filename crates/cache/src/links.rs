//! Giving the files of an object to a session without copying them: the object itself, to be mounted, or links to its files.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use cellblock_exec::Result;

use crate::{
    index::Index,
    objects::{Objects, storage},
};

/// An object in use: it stays in the cache as long as this is held, or the process lives.
#[derive(Debug)]
pub struct Held {
    /// The object's directory.
    pub directory: PathBuf,
    /// Locked.
    _shared: File,
}

impl Objects {
    /// Keeps the object `id` from being removed, so that a session can use its directory, mounted read-only or under a
    /// Landlock rule: of a large object, that is ten times quicker than [`Objects::link_into`].
    ///
    /// # Errors
    /// [`cellblock_exec::Error::Storage`] when it is not there.
    pub fn hold(&self, id: &str) -> Result<Held> {
        let (directory, lock) = (self.path(id), self.use_lock(id));
        let hold = || {
            let shared = OpenOptions::new().create(true).append(true).mode(0o600).open(&lock)?;
            shared.lock_shared()?;
            // It may have been removed before it was locked.
            fs::metadata(&directory).map(|_| shared)
        };
        let shared = hold().map_err(|source| storage("use", &directory, source))?;
        Ok(Held { directory: directory.clone(), _shared: shared })
    }

    /// Makes sure that nobody holds the object `id`, nor will while the result is kept. `None`: somebody does.
    pub(crate) fn unused(&self, id: &str) -> io::Result<Option<Unused>> {
        let file = match File::open(self.use_lock(id)) {
            Ok(file) => file,
            // Nobody ever has.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Some(Unused { _exclusive: None }));
            }
            Err(error) => return Err(error),
        };
        match file.try_lock() {
            Ok(()) => Ok(Some(Unused { _exclusive: Some(file) })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn use_lock(&self, id: &str) -> PathBuf {
        self.root.join("locks").join(format!("{id}.use"))
    }

    /// Links the files of the object `id`, which was made by [`Objects::get_or_make_shared`], into the directory `into`,
    /// without those named in `but`. Directories are made as needed; a file that is there already stays. On another file
    /// system than the cache's, the files are copied.
    ///
    /// All may read the files and none may write them, but their owner could change that, and then the cache would change
    /// with them: a program that runs as the user must see them on a read-only mount or under a Landlock rule. An object
    /// that is removed from the cache lives on in its links.
    ///
    /// # Errors
    /// [`cellblock_exec::Error::Storage`] when the object is not there or `into` cannot be written.
    pub fn link_into(&self, id: &str, into: &Path, but: &[&str]) -> Result<()> {
        self.put_into(id, into, but, link)
    }

    /// As [`Objects::link_into`], with copies: for programs that run as the user and see the files
    /// under a Landlock rule. As their owner they may change the permissions of a file that they
    /// can only read, and through a link that of the cache.
    ///
    /// # Errors
    /// As [`Objects::link_into`].
    pub fn copy_into(&self, id: &str, into: &Path, but: &[&str]) -> Result<()> {
        self.put_into(id, into, but, copy)
    }

    fn put_into(
        &self,
        id: &str,
        into: &Path,
        but: &[&str],
        put: fn(&Path, &Path) -> io::Result<()>,
    ) -> Result<()> {
        let object = self.path(id);
        let index = Index::read(&object)?;
        let mut made = PathBuf::new();
        for file in index.files.iter().filter(|file| !but.contains(&file.name.as_str())) {
            let path = into.join(&file.name);
            let mut give_one = || {
                // The files of a directory follow each other.
                if let Some(parent) = path.parent().filter(|parent| *parent != made) {
                    directories(into, parent)?;
                    made = parent.to_owned();
                }
                put(&object.join(&file.name), &path)
            };
            give_one().map_err(|source| storage("write", &path, source))?;
        }
        Ok(())
    }
}

/// That nobody uses an object.
pub(crate) struct Unused {
    _exclusive: Option<File>,
}

/// Makes the directories from `top` down to `directory`, so that all may look into them, whatever the umask says.
fn directories(top: &Path, directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    if let Some(parent) = directory.parent().filter(|_| directory != top) {
        directories(top, parent)?;
    }
    DirBuilder::new().mode(0o755).create(directory)?;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755))
}

fn link(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        // Another file system, one that has no links, or too many links to the file.
        Err(_) => copy(from, to),
        Ok(()) => Ok(()),
    }
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    // What is there already stays, as with links.
    if fs::symlink_metadata(to).is_ok() { Ok(()) } else { fs::copy(from, to).map(drop) }
}
