//! What backends that run Python share: how a block is run in an interpreter that lives on.

#[cfg(test)]
mod tests;

/// Python that runs blocks as a notebook would. A driver program is this text followed by its own part, run in one
/// namespace that is not `__main__`'s; it calls `_run_block(source, filename)` for each block, which gives a dictionary:
/// `code` (the exit code) and, after an exception, `exception` (its type) and `errno` where it has one.
///
/// It imports nothing at first. What it costs is its compilation, about 2 ms: a driver that has to be quick is compiled
/// once and kept as bytecode (`marshal`), which loads in 0.1 ms.
pub const NOTEBOOK: &str = include_str!("notebook.py");
