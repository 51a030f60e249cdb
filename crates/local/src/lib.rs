//! Hardened cells on this machine, and the executor on them.
//!
//! A cell is a small world for a session's programs. What stands between it and the host is one of two levels; which of
//! them works here is tried, not guessed (see [`checks`]):
//!
//! - **namespaces**: a root of its own in memory with read-only views of the system, its own processes, network, users,
//!   and no capability; then Landlock and a filter of system calls.
//! - **landlock**: where namespaces cannot be had, as in most containers: Landlock and a stricter filter.
//!
//! Limits are enforced by control groups where they can be made, else by watching.
//!
//! ```no_run
//! # async fn example() -> cellblock_exec::Result<()> {
//! use cellblock_exec::{ExecutionRequest, Executor, SessionSpec};
//! use cellblock_local::{LocalExecutor, Options};
//!
//! let executor = LocalExecutor::start(Options::default()).await?;
//! let mut session = executor.open(SessionSpec::default()).await?;
//! let result = session.execute(ExecutionRequest::python("print(6 * 7)")).await?;
//! assert_eq!(result.stdout.text(), "42\n");
//! session.close().await?;
//! # Ok(())
//! # }
//! ```
#![cfg(target_os = "linux")]

mod beneath;
mod cell;
mod checks;
mod executor;
mod groups;
mod inside;
mod interpreter;
mod launcher;
mod packages;
mod probe;
mod sys;
mod watch;

pub use checks::checks;
pub use executor::{LocalExecutor, Options};
pub use interpreter::{Environment, Python};
pub use probe::Rung;
