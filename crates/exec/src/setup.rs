//! The preparation of a machine for an executor: checks, and the progress of long steps.

/// One check of the things that an executor needs on a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The executor that needs it, by the name that `--executor` takes.
    pub executor: &'static str,
    /// The checked thing.
    pub name: String,
    /// True if it is as it should be.
    pub ok: bool,
    /// The finding.
    pub found: String,
    /// The next step, if there is one.
    pub hint: Option<String>,
}

/// A subscriber to a long piece of work, such as the pull of an image. Its methods are called from
/// several threads and must not block.
pub trait Progress: Send + Sync {
    /// A step begins, such as `downloading`.
    fn step(&self, step: &str);
    /// The current step has done this much of its total, in a unit of its own.
    fn advance(&self, done: u64, total: u64);
    /// All is done.
    fn finish(&self);
}

/// A subscriber that ignores everything.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn step(&self, _step: &str) {}
    fn advance(&self, _done: u64, _total: u64) {}
    fn finish(&self) {}
}
