//! The Python that all executors share: running a block in an interpreter that stays alive, and
//! calling functions of the host.

mod calls;
#[cfg(test)]
mod tests;

pub use calls::{HostCalls, MAX_MESSAGE_BYTES};

/// Python source that runs blocks as a notebook does. A driver is this text followed by its own
/// part, in a namespace that is not `__main__`'s. It calls `_run_block(source, filename)` for each
/// block, which returns a dictionary: `code` (the exit code) and, after an exception, `exception`
/// (its type) and `errno` if it has one.
///
/// It imports nothing at first, and compiling it takes about 2 ms. A driver that must start fast is
/// compiled once and kept as bytecode (`marshal`), which loads in 0.1 ms.
pub const NOTEBOOK: &str = include_str!("python/notebook.py");

/// Python source of the module `host`, through which a program calls functions of the host. It
/// follows [`NOTEBOOK`] in a driver. The driver's own part defines `_ask(question)`, which sends
/// bytes to [`HostCalls::answer`] and returns the answer, and calls `_forget_offers()` when a block
/// begins.
pub const HOST: &str = include_str!("python/host.py");
