//! The output directory: artifacts are written inside it, completely or not at all, and never
//! replace a file that existed before.

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

/// Maximum length of a file name in bytes: `NAME_MAX` of Linux.
const MAX_NAME: usize = 255;

/// Maximum number that is added to a name.
const MAX_NUMBER: u32 = 10_000;

/// Maximum length in bytes of an extension, which a number is put before. A longer one is part of
/// the name.
const MAX_EXTENSION: usize = 20;

/// The output directory of a run.
///
/// The names of artifacts come from untrusted programs, and the directory may have other files that
/// matter to their owner. So each path is checked, and each directory on the way must be a real
/// one, not a link. A complete file gets its name in one step. If the name exists, the file gets a
/// number, unless this run wrote the existing file and nobody has changed it since.
#[derive(Debug)]
pub struct OutputDirectory {
    directory: PathBuf,
    /// True if files that existed before are replaced.
    overwrite: bool,
    /// Files that this run wrote, by the paths of the artifacts.
    written: BTreeMap<String, WrittenFile>,
}

/// A file that this run wrote.
#[derive(Debug)]
struct WrittenFile {
    name: String,
    version: FileVersion,
    file: PathBuf,
}

/// Distinguishes a file from another one of the same name, and from itself with other content:
/// device, inode, size, and the time of the last change of the content.
type FileVersion = (u64, u64, u64, i64, i64);

/// The outcome of writing an artifact.
#[derive(Debug, PartialEq, Eq)]
pub enum WriteOutcome {
    /// The artifact was written.
    Written {
        /// Path of the file.
        file: PathBuf,
        /// Path of the file below the output directory.
        path: String,
        /// True if the name has a number because a file with the artifact's own name existed.
        is_numbered: bool,
    },
    /// The artifact cannot have its name here, for this reason.
    Refused(String),
}

impl OutputDirectory {
    /// Returns an output directory, which is created with the first artifact.
    pub fn new(directory: PathBuf, overwrite: bool) -> Self {
        Self { directory, overwrite, written: BTreeMap::new() }
    }

    /// Writes an artifact. Does not follow a link that has its name.
    ///
    /// # Errors
    /// If the file cannot be written for a reason other than its name.
    pub fn write(&mut self, artifact: &Artifact) -> io::Result<WriteOutcome> {
        let path = match artifact_path(artifact.path.as_bytes()) {
            Ok(path) => path,
            Err(refused) => return Ok(WriteOutcome::Refused(refused.reason)),
        };
        fs::create_dir_all(&self.directory)?;
        let directory = Dir::open_ambient_dir(&self.directory, ambient_authority())?;
        match self.write_in(directory, &path, &artifact.content) {
            Err(error) => refusal(&error).map(WriteOutcome::Refused).ok_or(error),
            outcome => outcome,
        }
    }

    /// Returns the file that the artifact of this path was written to.
    pub fn file(&self, path: &str) -> Option<&PathBuf> {
        self.written.get(path).map(|own| &own.file)
    }

    /// Writes a file whose path is valid.
    fn write_in(&mut self, directory: Dir, path: &str, content: &[u8]) -> io::Result<WriteOutcome> {
        let (parents, name) = path.rsplit_once('/').unwrap_or(("", path));
        let parent = open_or_create(directory, parents)?;
        let own = self
            .written
            .get(path)
            .filter(|own| version(&parent, &own.name).is_ok_and(|now| now == own.version));
        let name = match own {
            Some(own) => replace(&parent, &own.name, content)?,
            None if self.overwrite => replace(&parent, name, content)?,
            None => create(&parent, name, content)?,
        };
        let below = if parents.is_empty() { name.clone() } else { format!("{parents}/{name}") };
        let file = self.directory.join(&below);
        let version = version(&parent, &name)?;
        let own = WrittenFile { version, name, file: file.clone() };
        self.written.insert(path.to_owned(), own);
        Ok(WriteOutcome::Written { file, is_numbered: below != path, path: below })
    }
}

/// Opens a directory below another one, and creates it if it is missing.
fn open_or_create(mut directory: Dir, path: &str) -> io::Result<Dir> {
    for component in path.split('/').filter(|component| !component.is_empty()) {
        match directory.create_dir(component) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        if !directory.symlink_metadata(component)?.is_dir() {
            let message = format!("`{component}` exists there and is not a directory");
            return Err(io::Error::new(io::ErrorKind::NotADirectory, message));
        }
        // If a link replaces it now, it still cannot lead out of `directory`.
        directory = directory.open_dir(component)?;
    }
    Ok(directory)
}

/// Writes a file under the name, and replaces an existing one, but no directory. Returns the name.
fn replace(parent: &Dir, name: &str, content: &[u8]) -> io::Result<String> {
    if parent.symlink_metadata(name).is_ok_and(|metadata| metadata.is_dir()) {
        let message = "a directory of this name exists there";
        return Err(io::Error::new(io::ErrorKind::IsADirectory, message));
    }
    let mut file = TempFile::new(parent)?;
    file.write_all(content)?;
    file.replace(name)?;
    Ok(name.to_owned())
}

/// Creates a new file under the name or, if that exists, under the first free one with a number.
/// Returns the name.
fn create(parent: &Dir, name: &str, content: &[u8]) -> io::Result<String> {
    let staged = StagedFile::new(parent, content)?;
    for number in 1..=MAX_NUMBER {
        let name = if number == 1 { name.to_owned() } else { numbered(name, number) };
        match staged.link_as(&name, content) {
            Ok(()) => return Ok(name),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    let message = format!("{MAX_NUMBER} files of this name exist there; remove some");
    Err(io::Error::new(io::ErrorKind::AlreadyExists, message))
}

/// A complete file under a random name, which is removed when this is dropped.
struct StagedFile<'d> {
    parent: &'d Dir,
    name: String,
}

impl<'d> StagedFile<'d> {
    fn new(parent: &'d Dir, content: &[u8]) -> io::Result<Self> {
        let mut file = TempFile::new(parent)?;
        file.write_all(content)?;
        let name = format!(".cellblock-{:016x}", RandomState::new().hash_one(()));
        file.replace(&name)?;
        Ok(Self { parent, name })
    }

    /// Gives the file its name by a hard link, which fails if the name exists. A check before a
    /// rename would leave time for another program to create a file of this name.
    fn link_as(&self, name: &str, content: &[u8]) -> io::Result<()> {
        match self.parent.hard_link(&self.name, self.parent, name) {
            // FAT and some network file systems have no hard links.
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

impl Drop for StagedFile<'_> {
    fn drop(&mut self) {
        // The artifact itself is written; a file that remains does no harm.
        let _ = self.parent.remove_file(&self.name);
    }
}

/// Creates a new file and writes to it under its final name.
fn write_new(parent: &Dir, name: &str, content: &[u8]) -> io::Result<()> {
    let mut file = parent.open_with(name, OpenOptions::new().write(true).create_new(true))?;
    file.write_all(content).inspect_err(|_| {
        // No incomplete file remains.
        let _ = parent.remove_file(name);
    })
}

/// Returns the name with a number before its extension: `figure-1-2.png`, `archive-2.tar.gz`,
/// `.envrc-2`.
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

fn version(parent: &Dir, name: &str) -> io::Result<FileVersion> {
    let found = parent.symlink_metadata(name)?;
    Ok((found.dev(), found.ino(), found.len(), found.mtime(), found.mtime_nsec()))
}

/// Returns the reason why a name is not possible in the directory; `None` for other failures.
fn refusal(error: &io::Error) -> Option<String> {
    /// `EILSEQ`: a name that the file system cannot encode.
    const ILLEGAL_SEQUENCE: i32 = 84;
    match error.kind() {
        io::ErrorKind::NotADirectory
        | io::ErrorKind::IsADirectory
        | io::ErrorKind::AlreadyExists => Some(error.to_string()),
        io::ErrorKind::InvalidFilename | io::ErrorKind::InvalidInput => Some(invalid_name(error)),
        _ if error.raw_os_error() == Some(ILLEGAL_SEQUENCE) => Some(invalid_name(error)),
        _ => None,
    }
}

fn invalid_name(error: &io::Error) -> String {
    format!("invalid name in the file system there ({error}); rename it")
}

#[cfg(test)]
mod tests;
