//! The Python of a cell, found without running anything.
//!
//! What is first on `PATH` may be a script of a version manager: it takes a tenth of a second and reads the home
//! directory. So the file that really is the interpreter is looked for once.

use std::{
    fs,
    io::Read,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use cellblock_exec::{Error, Isolation, Result};
use nix::unistd::{AccessFlags, Uid, access};

/// The oldest Python that the driver runs on.
const OLDEST: (u32, u32) = (3, 9);

/// Names of interpreters in a directory, the likeliest first.
const NAMES: &[&str] = &["python3", "python"];

/// An interpreter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Python {
    /// The program: a file, no link and no script.
    pub program: PathBuf,
    /// The directory that holds all of it.
    pub prefix: PathBuf,
    /// Its version, as far as its place tells.
    pub version: Option<(u32, u32)>,
}

/// A virtual environment of the user's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    /// Its directory.
    pub directory: PathBuf,
    /// Where its modules are.
    pub modules: PathBuf,
    /// Where its programs are.
    pub programs: PathBuf,
}

impl Python {
    /// The version as text.
    pub fn version_text(&self) -> String {
        self.version
            .map_or("unknown version".to_owned(), |(major, minor)| format!("{major}.{minor}"))
    }
}

/// The interpreter for cells of a level: the one given, else the first on `path` that cells can use, else the system's.
///
/// # Errors
/// [`Error::Invalid`] when the given one cannot be used; [`Error::Start`] when there is none.
pub fn find(given: Option<&Path>, path: &str, isolation: Isolation) -> Result<Python> {
    if let Some(given) = given {
        let invalid = |why: String| Error::Invalid {
            what: "python",
            why: format!("{}: {why}", given.display()),
        };
        let python = resolve(given).map_err(invalid)?;
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
                "none is found on PATH or in /usr/bin that cells may read; install Python {}.{} or newer \
                 (Debian: apt-get install python3), or name one",
                OLDEST.0, OLDEST.1
            )
            .into(),
        })
}

/// The interpreter and the modules of a virtual environment.
///
/// # Errors
/// [`Error::Invalid`] when the directory is none, or cells may not read it.
pub fn find_environment(directory: &Path, isolation: Isolation) -> Result<(Python, Environment)> {
    let invalid = |why: String| Error::Invalid {
        what: "virtual environment",
        why: format!("{}: {why}", directory.display()),
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
    Ok((python, Environment { programs: directory.join("bin"), modules, directory }))
}

/// Follows links, and a virtual environment to its base, to the file that is the interpreter.
fn resolve(candidate: &Path) -> std::result::Result<Python, String> {
    let mut program = candidate.canonicalize().map_err(|error| error.to_string())?;
    // A virtual environment can hold a copy of its base's program, which only finds its library by this file.
    let settings = candidate.parent().and_then(Path::parent).map(|above| above.join("pyvenv.cfg"));
    if let Some(home) = settings.and_then(|settings| home(&settings)) {
        let names = program
            .file_name()
            .into_iter()
            .map(PathBuf::from)
            .chain(NAMES.iter().map(PathBuf::from));
        let base = names.map(|name| home.join(name)).find_map(|path| path.canonicalize().ok());
        program = base.ok_or_else(|| format!("its base in {} is gone", home.display()))?;
    }
    let mut start = [0; 4];
    fs::File::open(&program)
        .and_then(|mut file| file.read_exact(&mut start))
        .map_err(|error| error.to_string())?;
    if start != *b"\x7fELF" {
        return Err("it is a script, not an interpreter".to_owned());
    }
    let prefix = program.parent().and_then(Path::parent).filter(|prefix| *prefix != Path::new("/"));
    let prefix = prefix.ok_or("its directory holds no installation")?.to_owned();
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    let version = version(name.strip_prefix("python").unwrap_or_default());
    let version = version.or_else(|| library(&prefix).map(|(version, _)| version));
    Ok(Python { program, prefix, version })
}

/// The `home` of a virtual environment's settings.
fn home(settings: &Path) -> Option<PathBuf> {
    let text = fs::read_to_string(settings).ok()?;
    text.lines().find_map(|line| {
        let (key, value) = line.split_once('=')?;
        (key.trim() == "home").then(|| PathBuf::from(value.trim()))
    })
}

/// A version such as `3.11`.
fn version(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// The newest `lib/python3.*` under a prefix.
fn library(prefix: &Path) -> Option<((u32, u32), PathBuf)> {
    let entries = fs::read_dir(prefix.join("lib")).into_iter().flatten().flatten();
    let named = entries.filter_map(|entry| {
        let name = entry.file_name();
        Some((version(name.to_str()?.strip_prefix("python")?)?, entry.path()))
    });
    named.max()
}

/// Whether a prefix is a home directory, holds one, or is the place in it that programs keep their data in.
fn holds_a_home(prefix: &Path, home: &Path) -> bool {
    // Services have a home that is no person's, such as `/` or a directory of the system.
    let is_persons = home.components().count() > 1
        && !home.starts_with("/usr")
        && !home.starts_with("/nonexistent");
    is_persons && (home.starts_with(prefix) || prefix == home.join(".local"))
}

/// Whether cells of a level can use an interpreter.
fn usable(python: Python, isolation: Isolation) -> std::result::Result<Python, String> {
    if python.version.is_some_and(|version| version < OLDEST) {
        return Err(format!(
            "it is Python {}; {}.{} is the oldest that works",
            python.version_text(),
            OLDEST.0,
            OLDEST.1
        ));
    }
    if isolation != Isolation::None
        && std::env::home_dir().is_some_and(|home| holds_a_home(&python.prefix, &home))
    {
        return Err(format!(
            "all of {} would be shown with it, and the home directory is not shown; install it in a directory of its own",
            python.prefix.display()
        ));
    }
    may_read(&python.prefix, isolation)?;
    may_read(&python.program, isolation)?;
    if isolation == Isolation::Namespaces
        && !python.prefix.starts_with("/usr")
        && !crate::inside::is_plain(&python.prefix)
    {
        return Err(format!("{} cannot be shown in a cell", python.prefix.display()));
    }
    Ok(python)
}

/// Whether the user that programs run as may read and enter `path`. In namespaces only the path itself counts: what is
/// above it is not the host's there.
fn may_read(path: &Path, isolation: Isolation) -> std::result::Result<(), String> {
    let above = if isolation == Isolation::Namespaces { 1 } else { usize::MAX };
    for part in path.ancestors().take(above) {
        if !may_enter(part) {
            return Err(format!(
                "programs run as another user, who may not read {}",
                part.display()
            ));
        }
    }
    Ok(())
}

/// Whether programs may enter a directory or run a file: as `nobody` if we are root, else as our own user.
pub(crate) fn may_enter(path: &Path) -> bool {
    if !Uid::effective().is_root() {
        return access(path, AccessFlags::X_OK).is_ok();
    }
    fs::metadata(path).is_ok_and(|found| found.mode() & 0o001 != 0)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_home_is_no_prefix() {
        let home = Path::new("/home/ann");
        for (prefix, holds) in [
            ("/home/ann", true),
            ("/home", true),
            ("/home/ann/.local", true),
            ("/home/ann/.local/share/uv/python/cpython-3.12", false),
            ("/opt/python", false),
        ] {
            assert_eq!(holds_a_home(Path::new(prefix), home), holds, "{prefix}");
        }
        assert!(!holds_a_home(Path::new("/usr"), Path::new("/")));
    }

    /// A directory that looks like an installation, and a program on a path before it.
    fn installation() -> (tempfile::TempDir, PathBuf) {
        let top = tempfile::tempdir().unwrap();
        fs::set_permissions(top.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let prefix = top.path().canonicalize().unwrap().join("python");
        fs::create_dir_all(prefix.join("bin")).unwrap();
        fs::create_dir_all(prefix.join("lib/python3.12/site-packages")).unwrap();
        fs::write(prefix.join("bin/python3.12"), b"\x7fELF and more").unwrap();
        fs::set_permissions(prefix.join("bin/python3.12"), fs::Permissions::from_mode(0o755))
            .unwrap();
        symlink("python3.12", prefix.join("bin/python3")).unwrap();
        (top, prefix)
    }

    #[test]
    fn scripts_are_passed_over_and_links_followed() {
        let (top, prefix) = installation();
        let shims = top.path().join("shims");
        fs::create_dir(&shims).unwrap();
        fs::write(shims.join("python3"), "#!/bin/sh\nexec real \"$@\"\n").unwrap();
        fs::set_permissions(shims.join("python3"), fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("relative:{}:{}/bin", shims.display(), prefix.display());
        let python = find(None, &path, Isolation::Namespaces).unwrap();
        assert_eq!(python.program, prefix.join("bin/python3.12"));
        assert_eq!((python.prefix, python.version), (prefix, Some((3, 12))));
        let named = find(Some(&shims.join("python3")), "", Isolation::Namespaces);
        assert!(matches!(named, Err(Error::Invalid { .. })), "{named:?}");
    }

    #[test]
    fn old_and_unreadable_ones_are_passed_over() {
        let (_top, prefix) = installation();
        fs::rename(prefix.join("bin/python3.12"), prefix.join("bin/python3.7")).unwrap();
        fs::remove_file(prefix.join("bin/python3")).unwrap();
        symlink("python3.7", prefix.join("bin/python3")).unwrap();
        let given = prefix.join("bin/python3");
        assert!(find(Some(&given), "", Isolation::Namespaces).is_err());
        let found = find(None, &format!("{}/bin", prefix.display()), Isolation::Namespaces);
        assert!(found.is_ok_and(|python| python.prefix != prefix));

        let (top, prefix) = installation();
        fs::set_permissions(top.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let given = prefix.join("bin/python3");
        assert!(find(Some(&given), "", Isolation::Namespaces).is_ok());
        let landlock = find(Some(&given), "", Isolation::Landlock);
        assert_eq!(landlock.is_err(), Uid::effective().is_root(), "{landlock:?}");
    }

    #[test]
    fn an_environment_leads_to_its_base() {
        let (top, prefix) = installation();
        let venv = top.path().canonicalize().unwrap().join("venv");
        fs::create_dir_all(venv.join("bin")).unwrap();
        fs::create_dir_all(venv.join("lib/python3.12/site-packages")).unwrap();
        fs::write(
            venv.join("pyvenv.cfg"),
            format!("home = {}/bin\nversion = 3.12.1\n", prefix.display()),
        )
        .unwrap();
        // A copy, as some systems make it.
        fs::write(venv.join("bin/python3"), b"\x7fELF and more").unwrap();
        let (python, environment) = find_environment(&venv, Isolation::Namespaces).unwrap();
        assert_eq!(python.program, prefix.join("bin/python3.12"));
        assert_eq!(environment.modules, venv.join("lib/python3.12/site-packages"));
        assert!(find_environment(&prefix.join("lib"), Isolation::Namespaces).is_err());
    }
}
