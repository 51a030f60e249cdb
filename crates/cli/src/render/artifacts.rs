//! Artifacts, written as they come.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use cellblock_answer::run::{BlockReport, ErrorReport};
use cellblock_exec::{Artifact, RefusedFile, workspace::obeyed_by};

use super::{BAD, GOOD, screen::Screen};
use crate::{
    out::{Output, Stored},
    units,
};

/// The artifacts of a run or a chat, on their way to the output directory.
#[derive(Debug)]
pub struct Artifacts {
    out: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    output: Output,
    /// Files that were written.
    written: BTreeSet<PathBuf>,
    /// The first artifact that could not be written, and why.
    failed: Option<(String, io::Error)>,
}

impl Artifacts {
    /// Artifacts that go into a directory, which is made when there are any. Files that were there
    /// before are replaced only with `overwrite`.
    pub fn new(out: PathBuf, overwrite: bool) -> Self {
        let output = Output::new(out.clone(), overwrite);
        let state = State { output, written: BTreeSet::new(), failed: None };
        Self { out, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the artifacts of a block below `subdirectory` (empty for none) and tells where they
    /// are, if there is somebody to tell. In the report each gets its file; those that cannot have
    /// their names go to the refused ones. Returns notes about names that tools of this machine
    /// obey.
    pub fn store(
        &self,
        report: &mut BlockReport,
        subdirectory: &str,
        screen: Option<&Screen>,
    ) -> Vec<String> {
        let mut obeyed = Obeyed::default();
        let mut refused = Vec::new();
        report.artifacts.retain_mut(|artifact| {
            let path = format!("{subdirectory}{}", artifact.path);
            let placed = Artifact { path, ..artifact.clone() };
            let mut state = self.state();
            match state.output.write(&placed) {
                Ok(Stored::File { file, path, is_numbered }) => {
                    let before = if is_numbered { artifact.path.as_str() } else { "" };
                    tell_written(screen, &file, artifact, before);
                    artifact.file = Some(file.display().to_string());
                    obeyed.take(&path, &file);
                    state.written.insert(file);
                    true
                }
                Ok(Stored::Refused(reason)) => {
                    refused.push(RefusedFile { path: artifact.path.clone(), reason });
                    false
                }
                Err(error) => {
                    let rest = format!("{}: {error}", artifact.path);
                    screen.iter().for_each(|screen| screen.line(BAD, "not written:", &rest));
                    state.failed.get_or_insert((artifact.path.clone(), error));
                    true
                }
            }
        });
        report.refused.extend(refused);
        obeyed.notes()
    }

    /// The file that the artifact of this path was written to.
    pub fn file(&self, path: &str) -> Option<String> {
        self.state().output.file(path).map(|file| file.display().to_string())
    }

    /// How many files there are and where, such as `2 files in out`; empty for none.
    pub fn summary(&self) -> String {
        let out: &Path = &self.out;
        match self.state().written.len() {
            0 => String::new(),
            1 => format!("1 file in {}", out.display()),
            files => format!("{files} files in {}", out.display()),
        }
    }

    /// The failure to write the first artifact that could not be.
    pub fn failure(&self) -> Option<ErrorReport> {
        let (path, error) = self.state().failed.take()?;
        let message = format!("cannot write the artifact {path} to {}", self.out.display());
        Some(ErrorReport { message, causes: vec![error.to_string()] })
    }
}

/// Tells where a file is, and which one keeps its name (`before`, empty for none).
fn tell_written(screen: Option<&Screen>, file: &Path, artifact: &Artifact, before: &str) {
    let Some(screen) = screen else { return };
    let size = units::bytes(artifact.bytes);
    let mut rest = format!("{} ({}, {size})", file.display(), artifact.media_type);
    if !before.is_empty() {
        rest.push_str(&format!("; {before} was there before, --overwrite replaces it"));
    }
    screen.line(GOOD, "wrote", &rest);
}

/// Files whose names tools of this machine obey, in groups with one note each: there may be a
/// thousand.
#[derive(Debug, Default)]
struct Obeyed(Vec<(&'static str, PathBuf, usize)>);

impl Obeyed {
    fn take(&mut self, path: &str, file: &Path) {
        let Some(by) = obeyed_by(path) else { return };
        match self.0.iter_mut().find(|(known, ..)| *known == by) {
            Some((_, _, more)) => *more += 1,
            None => self.0.push((by, file.to_owned(), 0)),
        }
    }

    fn notes(self) -> Vec<String> {
        let note = |(by, file, more): (&str, PathBuf, usize)| match more {
            0 => format!("{}: {by}; read it first", file.display()),
            more => format!("{} and {more} more: {by}; read them first", file.display()),
        };
        self.0.into_iter().map(note).collect()
    }
}
