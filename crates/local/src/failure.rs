//! A step that failed while a cell was made, started or removed.
//!
//! Failures cross process boundaries: the launcher and the first process of a cell send them to the
//! host as JSON. So a failure holds a number and text instead of a source error.

use std::{fmt, io};

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

/// A step that failed, and the reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The step, as a verb and its object: `make a socket`.
    pub step: String,
    /// The error number of the system call that failed; 0 if none did.
    pub errno: i32,
    /// The reason in words.
    pub reason: String,
}

impl Failure {
    /// Returns a failure that no system call reported.
    pub fn new(step: impl Into<String>, reason: impl ToString) -> Self {
        Self { step: step.into(), errno: 0, reason: reason.to_string() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}: {}", self.step, self.reason)
    }
}

impl std::error::Error for Failure {}

/// Adds the name of the step to an error of the system.
pub trait StepContext<T> {
    /// Turns an error into the failure of `step`.
    fn step(self, step: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T> StepContext<T> for nix::Result<T> {
    fn step(self, step: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|errno| Failure {
            step: step(),
            errno: errno as i32,
            reason: errno.desc().to_lowercase(),
        })
    }
}

impl<T> StepContext<T> for io::Result<T> {
    fn step(self, step: impl FnOnce() -> String) -> Result<T, Failure> {
        match self {
            Ok(value) => Ok(value),
            Err(error) => match error.raw_os_error() {
                Some(number) => Err(Errno::from_raw(number)).step(step),
                None => Err(Failure::new(step(), error)),
            },
        }
    }
}
