//! Preparing a machine for an executor: what is checked, and how a person follows a long step.

/// One thing that was looked at, to see whether a machine has what an executor needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The executor that needs it, by the name that `--executor` takes.
    pub executor: &'static str,
    /// What was looked at.
    pub name: String,
    /// Whether it is as it should be.
    pub ok: bool,
    /// What was found.
    pub found: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// Follows a long piece of work, such as the pull of an image. Its methods are called from several threads and must not block.
pub trait Progress: Send + Sync {
    /// A step begins, such as `downloading`.
    fn step(&self, step: &str);
    /// The current step has done this much of its total, in a unit of its own.
    fn advance(&self, done: u64, total: u64);
    /// All is done.
    fn finish(&self);
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn step(&self, _step: &str) {}
    fn advance(&self, _done: u64, _total: u64) {}
    fn finish(&self) {}
}
