//! The environment variables that clients are made with.

use std::env;

/// The environment of a client: that of the process, or one of a test.
pub struct Environment {
    pub variable: LookUp,
}

/// Returns the value of an environment variable.
pub type LookUp = Box<dyn Fn(&str) -> Option<String> + Send + Sync>;

impl Environment {
    pub fn of_process() -> Self {
        Self { variable: Box::new(|name| env::var(name).ok()) }
    }

    /// Returns the value of an environment variable, unless it is blank.
    pub fn get(&self, name: &str) -> Option<String> {
        (self.variable)(name).filter(|value| !value.trim().is_empty())
    }
}
