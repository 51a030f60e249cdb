//! The artifacts of a run or a chat: written to the output directory as they come, and reported.

mod output_directory;

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
};

use cellblock_answer::run::{BlockReport, ErrorReport};
use cellblock_exec::{Artifact, RefusedFile, workspace::obeyed_by};
use parking_lot::Mutex;

use crate::render::{
    screen::Screen,
    text::{BAD, GOOD, format_bytes},
};
use output_directory::{OutputDirectory, WriteOutcome};

/// The artifacts of a run or a chat.
#[derive(Debug)]
pub struct Artifacts {
    out: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    directory: OutputDirectory,
    /// Files that were written.
    written: BTreeSet<PathBuf>,
    /// The first artifact that could not be written, and the reason.
    failed: Option<(String, io::Error)>,
}

impl Artifacts {
    /// Returns artifacts that go to `out`, which is created when there are any. Existing files are
    /// replaced only with `overwrite`.
    pub fn new(out: PathBuf, overwrite: bool) -> Self {
        let directory = OutputDirectory::new(out.clone(), overwrite);
        let state = State { directory, written: BTreeSet::new(), failed: None };
        Self { out, state: Mutex::new(state) }
    }

    /// Writes the artifacts of a block below `subdirectory` (empty for none), and shows their paths
    /// on the screen, if there is one. In the report, artifacts get their files; those whose names
    /// are not possible here become refused files. Returns notes about names that tools of this
    /// machine obey.
    pub fn store(
        &self,
        report: &mut BlockReport,
        subdirectory: &str,
        screen: Option<&Screen>,
    ) -> Vec<String> {
        let mut obeyed = ObeyedNames::default();
        let mut refused = Vec::new();
        report.artifacts.retain_mut(|artifact| {
            let path = format!("{subdirectory}{}", artifact.path);
            let placed = Artifact { path, ..artifact.clone() };
            let mut state = self.state.lock();
            match state.directory.write(&placed) {
                Ok(WriteOutcome::Written { file, path, is_numbered }) => {
                    let existing = if is_numbered { artifact.path.as_str() } else { "" };
                    show_written(screen, &file, artifact, existing);
                    artifact.file = Some(file.display().to_string());
                    obeyed.add(&path, &file);
                    state.written.insert(file);
                    true
                }
                Ok(WriteOutcome::Refused(reason)) => {
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

    /// Returns the file that the artifact of this path was written to.
    pub fn file(&self, path: &str) -> Option<String> {
        self.state.lock().directory.file(path).map(|file| file.display().to_string())
    }

    /// Returns the number of files and their directory, such as `2 files in out`; empty for none.
    pub fn summary(&self) -> String {
        let out = self.out.display();
        match self.state.lock().written.len() {
            0 => String::new(),
            1 => format!("1 file in {out}"),
            files => format!("{files} files in {out}"),
        }
    }

    /// Takes the failure to write an artifact, if there was one.
    pub fn failure(&self) -> Option<ErrorReport> {
        let (path, error) = self.state.lock().failed.take()?;
        let message = format!("cannot write the artifact `{path}` to `{}`", self.out.display());
        Some(ErrorReport { message, causes: vec![error.to_string()] })
    }
}

/// Shows the path of a file, and the name of an existing file that was not replaced (empty for
/// none).
fn show_written(screen: Option<&Screen>, file: &Path, artifact: &Artifact, existing: &str) {
    let Some(screen) = screen else { return };
    let size = format_bytes(artifact.bytes);
    let mut rest = format!("{} ({}, {size})", file.display(), artifact.media_type);
    if !existing.is_empty() {
        rest.push_str(&format!("; {existing} already existed, --overwrite replaces it"));
    }
    screen.line(GOOD, "wrote", &rest);
}

/// Files whose names tools of this machine obey. There may be a thousand, so each tool gets one
/// note with the number of files.
#[derive(Debug, Default)]
struct ObeyedNames(Vec<(&'static str, PathBuf, usize)>);

impl ObeyedNames {
    fn add(&mut self, path: &str, file: &Path) {
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
