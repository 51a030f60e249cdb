//! Writing artifacts: inside the output directory, whole or not at all, and never in the place of a
//! file that was there before.

use std::{
    collections::BTreeMap,
    fs,
    hash::{BuildHasher as _, RandomState},
    io::{self, Write as _},
    path::PathBuf,
};

use cap_std::{
    ambient_authority,
    fs::{Dir, MetadataExt as _, OpenOptions},
};
use cap_tempfile::TempFile;
use cellblock_exec::{Artifact, workspace::artifact_path};

/// The longest name of a file, in bytes: `NAME_MAX` of Linux.
const MAX_NAME: usize = 255;

/// The highest number that a name gets.
const MAX_NUMBER: u32 = 10_000;

/// The longest end of a name that a number goes before, in bytes. What is longer is no extension.
const MAX_EXTENSION: usize = 20;

/// The output directory of a run.
///
/// The names in it come from programs that nobody trusts, and other files in it may be dear to
/// their owner. So each path is checked, and each directory on the way must be a real one and no
/// link. A file gets its name in one step, whole. If the name is taken, the file gets a number,
/// unless this run wrote what is there and nobody has changed it since.
#[derive(Debug)]
pub struct Output {
    directory: PathBuf,
    /// Whether files that were there before are replaced.
    overwrite: bool,
    /// What this run wrote, by the paths of the artifacts.
    written: BTreeMap<String, Own>,
}

/// A file that this run wrote.
#[derive(Debug)]
struct Own {
    name: String,
    stamp: Stamp,
    file: PathBuf,
}

/// What tells a file from another one of its name, and from itself with another content: device,
/// inode, size, and the time of the last change of its content.
type Stamp = (u64, u64, u64, i64, i64);

/// What became of an artifact that could be written, as far as cellblock is concerned.
#[derive(Debug, PartialEq, Eq)]
pub enum Stored {
    /// It is in a file.
    File {
        /// Its path.
        file: PathBuf,
        /// The same below the output directory.
        path: String,
        /// Whether the name has a number because another file has the artifact's own.
        is_numbered: bool,
    },
    /// It cannot have this name here, for a reason.
    Refused(String),
}

impl Output {
    /// An output directory, which is made when there is something to write.
    pub fn new(directory: PathBuf, overwrite: bool) -> Self {
        Self { directory, overwrite, written: BTreeMap::new() }
    }

    /// Writes an artifact. A link that has its name is not followed.
    ///
    /// # Errors
    /// When the file cannot be written for a reason that is not its name.
    pub fn write(&mut self, artifact: &Artifact) -> io::Result<Stored> {
        let path = match artifact_path(artifact.path.as_bytes()) {
            Ok(path) => path,
            Err(refused) => return Ok(Stored::Refused(refused.reason)),
        };
        fs::create_dir_all(&self.directory)?;
        let directory = Dir::open_ambient_dir(&self.directory, ambient_authority())?;
        match self.write_in(directory, &path, &artifact.content) {
            Err(error) => about_name(&error).map(Stored::Refused).ok_or(error),
            stored => stored,
        }
    }

    /// The file that an artifact of this path was written to.
    pub fn file(&self, path: &str) -> Option<&PathBuf> {
        self.written.get(path).map(|own| &own.file)
    }

    /// Writes a file whose path is sound.
    fn write_in(&mut self, directory: Dir, path: &str, content: &[u8]) -> io::Result<Stored> {
        let (parents, name) = path.rsplit_once('/').unwrap_or(("", path));
        let parent = enter(directory, parents)?;
        let own = self
            .written
            .get(path)
            .filter(|own| stamp(&parent, &own.name).is_ok_and(|now| now == own.stamp));
        let name = match own {
            Some(own) => replace(&parent, &own.name, content)?,
            None if self.overwrite => replace(&parent, name, content)?,
            None => create(&parent, name, content)?,
        };
        let below = if parents.is_empty() { name.clone() } else { format!("{parents}/{name}") };
        let file = self.directory.join(&below);
        let own = Own { stamp: stamp(&parent, &name)?, name, file: file.clone() };
        self.written.insert(path.to_owned(), own);
        Ok(Stored::File { file, is_numbered: below != path, path: below })
    }
}

/// Opens a directory below another one. What is missing of it is made.
fn enter(mut directory: Dir, path: &str) -> io::Result<Dir> {
    for component in path.split('/').filter(|component| !component.is_empty()) {
        match directory.create_dir(component) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        if !directory.symlink_metadata(component)?.is_dir() {
            let message = format!("`{component}` is in the way there, and it is no directory");
            return Err(io::Error::new(io::ErrorKind::NotADirectory, message));
        }
        // Should a link take its place here, it still cannot lead out of `directory`.
        directory = directory.open_dir(component)?;
    }
    Ok(directory)
}

/// Puts a file in the place of what has the name; a directory stays. Returns the name.
fn replace(parent: &Dir, name: &str, content: &[u8]) -> io::Result<String> {
    if parent.symlink_metadata(name).is_ok_and(|metadata| metadata.is_dir()) {
        let message = "a directory of that name is in the way there";
        return Err(io::Error::new(io::ErrorKind::IsADirectory, message));
    }
    let mut file = TempFile::new(parent)?;
    file.write_all(content)?;
    file.replace(name)?;
    Ok(name.to_owned())
}

/// Makes a new file under the name or, when that is taken, under the first free one with a number.
/// Returns its name.
fn create(parent: &Dir, name: &str, content: &[u8]) -> io::Result<String> {
    let staged = Staged::new(parent, content)?;
    for number in 1..=MAX_NUMBER {
        let name = if number == 1 { name.to_owned() } else { numbered(name, number) };
        match staged.appear_as(&name, content) {
            Ok(()) => return Ok(name),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    let message = format!("there are {MAX_NUMBER} files of that name there; remove some");
    Err(io::Error::new(io::ErrorKind::AlreadyExists, message))
}

/// A whole file under a name that nobody else knows.
struct Staged<'d> {
    parent: &'d Dir,
    name: String,
}

impl<'d> Staged<'d> {
    fn new(parent: &'d Dir, content: &[u8]) -> io::Result<Self> {
        let mut file = TempFile::new(parent)?;
        file.write_all(content)?;
        let name = format!(".cellblock-{:016x}", RandomState::new().hash_one(()));
        file.replace(&name)?;
        Ok(Self { parent, name })
    }

    /// Gives the file its name. Looking first and renaming then would leave time for somebody else
    /// to use the name; a link is made only where there is nothing.
    fn appear_as(&self, name: &str, content: &[u8]) -> io::Result<()> {
        match self.parent.hard_link(&self.name, self.parent, name) {
            // FAT and some network file systems have no links.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported
                ) =>
            {
                write_new(self.parent, name, content)
            }
            linked => linked,
        }
    }
}

impl Drop for Staged<'_> {
    fn drop(&mut self) {
        // One that cannot be removed is left; there is nobody to tell.
        let _ = self.parent.remove_file(&self.name);
    }
}

/// Makes a new file and writes to it under its own name.
fn write_new(parent: &Dir, name: &str, content: &[u8]) -> io::Result<()> {
    let mut file = parent.open_with(name, OpenOptions::new().write(true).create_new(true))?;
    file.write_all(content).inspect_err(|_| {
        // Half a file is none.
        let _ = parent.remove_file(name);
    })
}

/// The name with a number before its extension: `figure-1-2.png`, `archive-2.tar.gz`, `.envrc-2`.
fn numbered(name: &str, number: u32) -> String {
    let dot = name.rfind('.').unwrap_or_default();
    let tar = name[..dot].strip_suffix(".tar").map_or(0, str::len);
    let mut at = if tar > 0 { tar } else { dot };
    if at == 0 || name.len() - at > MAX_EXTENSION {
        at = name.len();
    }
    let end = format!("-{number}{}", &name[at..]);
    let room = at.min(MAX_NAME - end.len());
    format!("{}{end}", &name[..name.floor_char_boundary(room)])
}

fn stamp(parent: &Dir, name: &str) -> io::Result<Stamp> {
    let found = parent.symlink_metadata(name)?;
    Ok((found.dev(), found.ino(), found.len(), found.mtime(), found.mtime_nsec()))
}

/// The reason for which a name cannot be used in the directory; `None` for other failures.
fn about_name(error: &io::Error) -> Option<String> {
    /// `EILSEQ`: a name that the file system cannot encode.
    const ILLEGAL_SEQUENCE: i32 = 84;
    match error.kind() {
        io::ErrorKind::NotADirectory
        | io::ErrorKind::IsADirectory
        | io::ErrorKind::AlreadyExists => Some(error.to_string()),
        io::ErrorKind::InvalidFilename | io::ErrorKind::InvalidInput => Some(takes_no(error)),
        _ if error.raw_os_error() == Some(ILLEGAL_SEQUENCE) => Some(takes_no(error)),
        _ => None,
    }
}

fn takes_no(error: &io::Error) -> String {
    format!("the file system there takes no such name ({error}); rename it")
}

#[cfg(test)]
mod tests;
