//! What backends that run Python share: how a block is run in an interpreter that lives on, and how it calls functions of
//! the host.

mod calls;
#[cfg(test)]
mod tests;

pub use calls::{HostCalls, MAX_MESSAGE_BYTES};

/// Python that runs blocks as a notebook would. A driver program is this text followed by its own part, run in one
/// namespace that is not `__main__`'s; it calls `_run_block(source, filename)` for each block, which gives a dictionary:
/// `code` (the exit code) and, after an exception, `exception` (its type) and `errno` where it has one.
///
/// It imports nothing at first. What it costs is its compilation, about 2 ms: a driver that has to be quick is compiled
/// once and kept as bytecode (`marshal`), which loads in 0.1 ms.
pub const NOTEBOOK: &str = include_str!("python/notebook.py");

/// Python that is the module `host`, by which a program calls functions of the host. It follows [`NOTEBOOK`] in a driver's
/// program. The driver's own part defines `_ask(question)`, which takes bytes to [`HostCalls::answer`] and brings back the
/// answer, and calls `_forget_offers()` when a block begins.
pub const HOST: &str = include_str!("python/host.py");
