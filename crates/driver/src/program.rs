//! The driver's program: its text, and its compiled form.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use cellblock_exec::python::{HOST, NOTEBOOK};
use parking_lot::Mutex;

use crate::protocol::{COMPILED, TEXT};

/// The driver's own part of its program, file after file. The part that it shares with other
/// executors stands before it.
const DRIVER: &str = concat!(
    include_str!("driver/messages.py"),
    "\n\n",
    include_str!("driver/cell.py"),
    "\n\n",
    include_str!("driver/blocks.py"),
    "\n\n",
    include_str!("driver/worker.py"),
    "\n\n",
    include_str!("driver/calls.py"),
    "\n\n",
    include_str!("driver/files.py"),
    "\n\n",
    include_str!("driver/relays.py"),
);

/// The driver's program for one interpreter. Clones share the compiled form.
///
/// Compiling takes about as long as starting an interpreter. So the first driver compiles the text
/// and returns the result for later drivers.
#[derive(Debug, Clone, Default)]
pub struct DriverProgram {
    compiled: Arc<Mutex<Option<Bytes>>>,
    path: Option<PathBuf>,
}

impl DriverProgram {
    /// Returns the program, to be compiled anew in this process.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the program with its compiled form in a file. The file must belong to one
    /// interpreter and one version of this crate (see [`DriverProgram::text`]), and only this user
    /// may be able to write it.
    pub fn stored_at(path: PathBuf) -> Self {
        let compiled = fs::read(&path).ok().filter(|code| !code.is_empty()).map(Bytes::from);
        Self { compiled: Arc::new(Mutex::new(compiled)), path: Some(path) }
    }

    /// Returns the program's text. A compiled form belongs to this text alone.
    pub fn text() -> String {
        format!("{NOTEBOOK}\n{HOST}\n{DRIVER}")
    }

    /// Returns the bytes that a driver reads first: a mark, the length, and the program, compiled
    /// if possible.
    pub(crate) fn opening(&self) -> Vec<u8> {
        let compiled = self.compiled.lock().clone();
        let (mark, program) = match compiled {
            Some(code) => (COMPILED, code),
            None => (TEXT, Self::text().into()),
        };
        let mut opening = vec![mark];
        opening.extend_from_slice(&(program.len() as u32).to_le_bytes());
        opening.extend_from_slice(&program);
        opening
    }

    /// Keeps the form that a driver has compiled.
    pub(crate) fn keep(&self, code: &[u8]) {
        if let Some(path) = &self.path {
            // Without the file the next process compiles again.
            let _ = replace(path, code);
        }
        *self.compiled.lock() = Some(Bytes::copy_from_slice(code));
    }

    /// Discards the compiled form, which did not fit the interpreter.
    pub(crate) fn forget(&self) {
        if let Some(path) = &self.path {
            let _ = fs::remove_file(path);
        }
        *self.compiled.lock() = None;
    }
}

/// Writes a file that appears whole or not at all.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let new = path.with_extension(format!("{}.new", std::process::id()));
    fs::write(&new, content)?;
    fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// All files share one namespace, in which a second definition would replace the first.
    #[test]
    fn no_name_is_defined_twice() {
        let text = DriverProgram::text();
        let mut names = BTreeSet::new();
        for line in text.lines() {
            let definition = ["def ", "class "].iter().find_map(|word| line.strip_prefix(word));
            let name = match definition {
                Some(rest) => rest.split(['(', ':']).next(),
                None => line.split_once(" = ").map(|(name, _)| name),
            };
            let is_name = |name: &&str| {
                !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_')
            };
            if let Some(name) = name.filter(is_name) {
                assert!(names.insert(name), "`{name}` is defined twice");
            }
        }
        // The control.
        assert!(names.contains("_run_block") && names.contains("_RUN") && names.len() > 150);
    }
}
