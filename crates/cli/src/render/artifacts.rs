//! Artifacts, written as they come.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use cellblock_exec::{Artifact, run::Failure};

use super::{BAD, GOOD, screen::Screen};
use crate::{out, units};

/// Where artifacts go, and what became of them.
#[derive(Debug)]
pub struct Artifacts {
    out: PathBuf,
    /// Files that were written.
    written: Mutex<BTreeSet<PathBuf>>,
    /// The first artifact that could not be written, and why.
    failed: Mutex<Option<(String, std::io::Error)>>,
}

impl Artifacts {
    /// Artifacts that go into a directory, which is made when there are any.
    pub fn new(out: PathBuf) -> Self {
        Self { out, written: Mutex::default(), failed: Mutex::default() }
    }

    /// Writes an artifact and tells where it is, if there is somebody to tell.
    pub fn store(&self, artifact: &Artifact, screen: Option<&Screen>) {
        let tell = |colour, start: &str, rest: &str| {
            screen.iter().for_each(|screen| screen.line(colour, start, rest))
        };
        match out::write(&self.out, artifact) {
            Ok(path) => {
                let size = units::bytes(artifact.bytes);
                tell(
                    GOOD,
                    "wrote",
                    &format!("{} ({}, {size})", path.display(), artifact.media_type),
                );
                self.written.lock().unwrap_or_else(PoisonError::into_inner).insert(path);
            }
            Err(error) => {
                tell(BAD, "not written:", &format!("{}: {error}", artifact.path));
                let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
                failed.get_or_insert((artifact.path.clone(), error));
            }
        }
    }

    /// How many files there are and where, such as `2 files in out`; empty for none.
    pub fn summary(&self) -> String {
        let out: &Path = &self.out;
        match self.written.lock().unwrap_or_else(PoisonError::into_inner).len() {
            0 => String::new(),
            1 => format!("1 file in {}", out.display()),
            files => format!("{files} files in {}", out.display()),
        }
    }

    /// The failure to write the first artifact that could not be.
    pub fn failure(&self) -> Option<Failure> {
        let (path, error) = self.failed.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let message = format!("cannot write the artifact {path} to {}", self.out.display());
        Some(Failure { message, causes: vec![error.to_string()] })
    }
}
