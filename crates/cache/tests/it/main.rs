//! Packages for an interpreter of this machine, from the real package index.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod environments;
mod interpreters;
mod links;
mod wheels;

use std::{
    path::Path,
    process::{Command, Output},
    sync::Mutex,
};

use cellblock_cache::{Interpreter, Objects, wheels::Wanted};
use cellblock_exec::{Progress, Requirement};

/// A cache of a test's own.
fn cache() -> (tempfile::TempDir, Objects) {
    let directory = tempfile::tempdir().unwrap();
    let objects = Objects::at(directory.path().join("cache")).unwrap();
    (directory, objects)
}

/// The interpreter that `python3` is.
async fn python(objects: &Objects) -> Interpreter {
    Interpreter::ask(objects, Path::new("python3")).await.unwrap()
}

fn list(text: &str) -> Vec<Requirement> {
    text.split_whitespace().map(|requirement| requirement.parse().unwrap()).collect()
}

/// Wheels only.
fn wanted<'w>(interpreter: &'w Interpreter, requirements: &'w [Requirement]) -> Wanted<'w> {
    Wanted { interpreter, requirements, source_builds: false }
}

/// Runs Python that sees the packages in `directory` and those of the standard library.
fn run(interpreter: &Interpreter, directory: &Path, code: &str) -> Output {
    let path =
        format!("import sys; sys.path.append({:?})\n{code}", directory.display().to_string());
    Command::new(&interpreter.path).args(["-I", "-S", "-c", &path]).output().unwrap()
}

/// Runs Python that has to succeed, and gives what it printed.
fn output(interpreter: &Interpreter, directory: &Path, code: &str) -> String {
    let output = run(interpreter, directory, code);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Remembers the steps.
#[derive(Debug, Default)]
struct Steps(Mutex<Vec<String>>);

impl Progress for Steps {
    fn step(&self, step: &str) {
        self.0.lock().unwrap().push(step.to_owned());
    }

    fn advance(&self, _done: u64, _total: u64) {}

    fn finish(&self) {}
}

impl Steps {
    fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}
