//! Finding the Python interpreter of a cell, without running anything.
//!
//! The first `python3` on `PATH` may be a script of a version manager, which takes a tenth of a
//! second and reads the home directory. So an executor looks once for the file that is the
//! interpreter itself.

use std::{
    fs,
    io::Read,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use cellblock_exec::{Error, Isolation, Result};
use nix::unistd::{AccessFlags, Uid, access};

use crate::inside::can_be_shown;

/// The minimum version of Python for the driver.
const MIN_VERSION: (u32, u32) = (3, 9);

/// The names of interpreters in a directory, the most likely first.
const NAMES: &[&str] = &["python3", "python"];

/// A Python interpreter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Python {
    /// The program: a file that is neither a link nor a script.
    pub program: PathBuf,
    /// The directory of the whole installation.
    pub prefix: PathBuf,
    /// The major and minor version; `None` if the path does not show it.
    pub version: Option<(u32, u32)>,
}

/// A virtual environment of the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VirtualEnvironment {
    /// The directory of the environment.
    pub directory: PathBuf,
    /// The directory of its modules.
    pub modules: PathBuf,
    /// The directory of its programs.
    pub programs: PathBuf,
}

impl Python {
    /// Returns the version as text: `3.12`, or `unknown version`.
    pub fn version_text(&self) -> String {
        self.version
            .map_or("unknown version".to_owned(), |(major, minor)| format!("{major}.{minor}"))
    }
}

/// Finds the interpreter for cells of a level: the one that is named, else the first on `path` that
/// cells can use, else the system's.
///
/// # Errors
/// [`Error::Invalid`] when the named one cannot be used; [`Error::Start`] when there is none.
pub fn find(named: Option<&Path>, path: &str, isolation: Isolation) -> Result<Python> {
    if let Some(named) = named {
        let invalid = |why: String| Error::Invalid {
            what: "python",
            why: format!("`{}`: {why}", named.display()),
        };
        let python = resolve(named).map_err(invalid)?;
        return usable(python, isolation).map_err(invalid);
    }
    let directories = std::env::split_paths(path).chain([PathBuf::from("/usr/bin")]);
    directories
        .filter(|directory| directory.is_absolute())
        .flat_map(|directory| NAMES.iter().map(move |name| directory.join(name)))
        .find_map(|candidate| usable(resolve(&candidate).ok()?, isolation).ok())
        .ok_or_else(|| Error::Start {
            what: "a Python interpreter".to_owned(),
            source: format!(
                "none is found on PATH or in /usr/bin that cells can read; install Python {}.{} or \
                 newer (Debian: apt-get install python3), or name one",
                MIN_VERSION.0, MIN_VERSION.1
            )
            .into(),
        })
}

/// Finds the interpreter and the modules of a virtual environment.
///
/// # Errors
/// [`Error::Invalid`] when the directory is not a virtual environment, or cells cannot read it.
pub fn find_venv(directory: &Path, isolation: Isolation) -> Result<(Python, VirtualEnvironment)> {
    let invalid = |why: String| Error::Invalid {
        what: "virtual environment",
        why: format!("`{}`: {why}", directory.display()),
    };
    let directory = directory.canonicalize().map_err(|error| invalid(error.to_string()))?;
    let python =
        NAMES.iter().map(|name| directory.join("bin").join(name)).find(|path| path.exists());
    let python = python.ok_or_else(|| invalid("it has no bin/python3".to_owned()))?;
    let python = usable(resolve(&python).map_err(invalid)?, isolation).map_err(invalid)?;
    let modules = library(&directory)
        .map(|(_, library)| library.join("site-packages"))
        .filter(|path| path.is_dir());
    let modules =
        modules.ok_or_else(|| invalid("it has no lib/python3.*/site-packages".to_owned()))?;
    may_read(&directory, isolation).map_err(invalid)?;
    Ok((python, VirtualEnvironment { programs: directory.join("bin"), modules, directory }))
}

/// Follows links, and a virtual environment to its base, to the file that is the interpreter
/// itself.
fn resolve(candidate: &Path) -> std::result::Result<Python, String> {
    let mut program = candidate.canonicalize().map_err(|error| error.to_string())?;
    // A virtual environment may contain a copy of its base's program, which finds its library only
    // by this file.
    let settings = candidate.parent().and_then(Path::parent).map(|above| above.join("pyvenv.cfg"));
    if let Some(home) = settings.and_then(|settings| home(&settings)) {
        let names = program
            .file_name()
            .into_iter()
            .map(PathBuf::from)
            .chain(NAMES.iter().map(PathBuf::from));
        let base = names.map(|name| home.join(name)).find_map(|path| path.canonicalize().ok());
        program = base.ok_or_else(|| format!("its base in `{}` is gone", home.display()))?;
    }
    let mut start = [0; 4];
    fs::File::open(&program)
        .and_then(|mut file| file.read_exact(&mut start))
        .map_err(|error| error.to_string())?;
    if start != *b"\x7fELF" {
        return Err("it is a script, not an interpreter".to_owned());
    }
    let prefix = program.parent().and_then(Path::parent).filter(|prefix| *prefix != Path::new("/"));
    let prefix = prefix.ok_or("its directory contains no installation")?.to_owned();
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    let version = version(name.strip_prefix("python").unwrap_or_default());
    let version = version.or_else(|| library(&prefix).map(|(version, _)| version));
    Ok(Python { program, prefix, version })
}

/// Returns the `home` in the settings of a virtual environment.
fn home(settings: &Path) -> Option<PathBuf> {
    let text = fs::read_to_string(settings).ok()?;
    text.lines().find_map(|line| {
        let (key, value) = line.split_once('=')?;
        (key.trim() == "home").then(|| PathBuf::from(value.trim()))
    })
}

/// Parses a version such as `3.11`.
fn version(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Returns the newest `lib/python3.*` under a prefix, with its version.
fn library(prefix: &Path) -> Option<((u32, u32), PathBuf)> {
    let entries = fs::read_dir(prefix.join("lib")).into_iter().flatten().flatten();
    let named = entries.filter_map(|entry| {
        let name = entry.file_name();
        Some((version(name.to_str()?.strip_prefix("python")?)?, entry.path()))
    });
    named.max()
}

/// True if a prefix is a home directory, contains one, or is the directory in it for the data of
/// programs.
fn contains_home(prefix: &Path, home: &Path) -> bool {
    // Services have a home that belongs to no person, such as `/` or a directory of the system.
    let is_persons = home.components().count() > 1
        && !home.starts_with("/usr")
        && !home.starts_with("/nonexistent");
    is_persons && (home.starts_with(prefix) || prefix == home.join(".local"))
}

/// Returns the interpreter if cells of a level can use it.
fn usable(python: Python, isolation: Isolation) -> std::result::Result<Python, String> {
    if python.version.is_some_and(|version| version < MIN_VERSION) {
        return Err(format!(
            "it is Python {}; {}.{} or newer is needed",
            python.version_text(),
            MIN_VERSION.0,
            MIN_VERSION.1
        ));
    }
    if isolation != Isolation::None
        && std::env::home_dir().is_some_and(|home| contains_home(&python.prefix, &home))
    {
        return Err(format!(
            "cells would see all of `{}` with it, and they must not see the home directory; \
             install it in a directory of its own",
            python.prefix.display()
        ));
    }
    may_read(&python.prefix, isolation)?;
    may_read(&python.program, isolation)?;
    if isolation == Isolation::Namespaces
        && !python.prefix.starts_with("/usr")
        && !can_be_shown(&python.prefix)
    {
        return Err(format!("`{}` cannot be shown in a cell", python.prefix.display()));
    }
    Ok(python)
}

/// Checks that the user of programs can read and enter `path`. In namespaces only the path itself
/// counts: the directories above it are not the host's there.
fn may_read(path: &Path, isolation: Isolation) -> std::result::Result<(), String> {
    let above = if isolation == Isolation::Namespaces { 1 } else { usize::MAX };
    for part in path.ancestors().take(above) {
        if !may_enter(part) {
            return Err(format!(
                "programs run as another user, who cannot read `{}`",
                part.display()
            ));
        }
    }
    Ok(())
}

/// True if programs can enter a directory or run a file: as `nobody` if we are root, else as our
/// own user.
pub fn may_enter(path: &Path) -> bool {
    if !Uid::effective().is_root() {
        return access(path, AccessFlags::X_OK).is_ok();
    }
    fs::metadata(path).is_ok_and(|found| found.mode() & 0o001 != 0)
}

#[cfg(test)]
mod tests;
