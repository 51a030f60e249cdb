//! The system calls that programs in cells may not make.
//!
//! One list serves all executors whose programs speak to the host's kernel: the local executor
//! makes filters of it, the Docker executor a profile for the engine, and `SECURITY.md` shows it
//! as a table.
//!
//! A listed call fails with an error that programs can handle. Every other call that was reviewed
//! is allowed, because a list of allowed calls breaks scientific libraries and language runtimes
//! with each new version of the C library. A call that was not reviewed does not exist: see
//! [`NEWEST`].

mod rule;
mod rules;
mod table;
#[cfg(test)]
mod tests;

pub use rule::{Arguments, CellSet, CellTraits, Denial, Rule};
pub use rules::RULES;
pub use table::{CALLS, NEWEST, SystemCall};

/// Returns the rules for a cell.
pub fn rules(cell: &CellTraits) -> impl Iterator<Item = &'static Rule> {
    RULES.iter().filter(|rule| rule.cells.contains(cell))
}
