//! Packages for an interpreter of this machine, from the real package index.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod environments;
mod interpreters;
mod wheels;

use std::{
    path::Path,
    process::{Command, Output},
};

use cellblock_cache::Objects;
use cellblock_exec::{Progress, Requirement};
use cellblock_packages::Interpreter;
use parking_lot::Mutex;

/// Returns an empty cache and the directory that it is in.
fn cache() -> (tempfile::TempDir, Objects) {
    let directory = tempfile::tempdir().unwrap();
    let objects = Objects::open(directory.path().join("cache")).unwrap();
    (directory, objects)
}

/// Returns the interpreter that `python3` starts.
async fn python(objects: &Objects) -> Interpreter {
    Interpreter::query(objects, Path::new("python3")).await.unwrap()
}

fn list(text: &str) -> Vec<Requirement> {
    text.split_whitespace().map(|requirement| requirement.parse().unwrap()).collect()
}

/// Runs Python with the packages in `directory` and the standard library.
fn run(interpreter: &Interpreter, directory: &Path, code: &str) -> Output {
    let path =
        format!("import sys; sys.path.append({:?})\n{code}", directory.display().to_string());
    Command::new(&interpreter.path).args(["-I", "-S", "-c", &path]).output().unwrap()
}

/// Runs Python that has to succeed; returns its output.
fn output(interpreter: &Interpreter, directory: &Path, code: &str) -> String {
    let output = run(interpreter, directory, code);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Records the steps.
#[derive(Debug, Default)]
struct Steps(Mutex<Vec<String>>);

impl Progress for Steps {
    fn step(&self, step: &str) {
        self.0.lock().push(step.to_owned());
    }

    fn advance(&self, _done: u64, _total: u64) {}

    fn finish(&self) {}
}

impl Steps {
    fn count(&self) -> usize {
        self.0.lock().len()
    }
}
