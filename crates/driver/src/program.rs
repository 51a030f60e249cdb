//! The driver's program: its text, and what the interpreter has compiled it to.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use cellblock_exec::python::{HOST, NOTEBOOK};

use crate::protocol;

/// The driver's own part of its program, file after file; what it shares with other executors'
/// stands before it.
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

/// The driver's program for one interpreter. Clones share what was compiled.
///
/// Compiling takes about as long as starting an interpreter, so the first driver compiles the text and gives back the
/// result for the next ones.
#[derive(Debug, Clone, Default)]
pub struct Program {
    compiled: Arc<Mutex<Option<Bytes>>>,
    path: Option<PathBuf>,
}

impl Program {
    /// The program, compiled anew in this process.
    pub fn new() -> Self {
        Self::default()
    }

    /// The program, which is kept compiled in a file. The file must belong to one interpreter and one version of this
    /// crate (see [`Program::text`]), and nobody else may be able to write it.
    pub fn stored_at(path: PathBuf) -> Self {
        let compiled = fs::read(&path).ok().filter(|code| !code.is_empty()).map(Bytes::from);
        Self { compiled: Arc::new(Mutex::new(compiled)), path: Some(path) }
    }

    /// The program's text; what is compiled of it belongs to this text alone.
    pub fn text() -> String {
        format!("{NOTEBOOK}\n{HOST}\n{DRIVER}")
    }

    /// What a driver reads first: a mark, the length, and the program, compiled if that is known.
    pub(crate) fn opening(&self) -> Vec<u8> {
        let compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (mark, program) = match compiled {
            Some(code) => (protocol::COMPILED, code),
            None => (protocol::TEXT, Self::text().into()),
        };
        let mut opening = vec![mark];
        opening.extend_from_slice(&(program.len() as u32).to_le_bytes());
        opening.extend_from_slice(&program);
        opening
    }

    /// Keeps what a driver has compiled.
    pub(crate) fn keep(&self, code: &[u8]) {
        if let Some(path) = &self.path {
            // Without it the next process compiles again.
            let _ = replace(path, code);
        }
        *self.compiled.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Bytes::copy_from_slice(code));
    }

    /// Forgets what was compiled: it did not fit the interpreter.
    pub(crate) fn forget(&self) -> bool {
        if let Some(path) = &self.path {
            let _ = fs::remove_file(path);
        }
        self.compiled.lock().unwrap_or_else(PoisonError::into_inner).take().is_some()
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
