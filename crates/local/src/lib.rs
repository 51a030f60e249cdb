//! Hardened cells on this machine, and the executor that uses them.
//!
//! A cell is an isolated place for the programs of a session. One of two levels of isolation stands
//! between these programs and the host; the executor tests which of them work here (see
//! [`checks()`]):
//!
//! - **namespaces**: a root of its own in memory with read-only views of the system, its own
//!   processes, network and users, and no capabilities; then Landlock and a system call filter.
//! - **landlock**: where namespaces are not available, as in most containers: Landlock and a
//!   stricter filter.
//!
//! Control groups enforce the limits where they can be made; elsewhere the host watches the cell.
//!
//! ```text
//!  LocalExecutor ─► launcher/client.rs ═ socket ═► launcher ─► first process ─► driver
//!       │                                          (child of the keeper; one thread each)
//!       └─ levels: a whole cell of each level, as a test
//! ```
//!
//! At `landlock` and at `none` (only if named) the cell is a directory of the host. Its driver is
//! not process 1 but collects the orphans below it, and the launcher kills by walking the tree of
//! processes, stopped first.
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
mod blueprint;
mod cell;
mod checks;
mod executor;
mod failure;
mod groups;
mod inside;
mod interpreter;
mod launcher;
mod layout;
mod levels;
mod packages;
mod procfs;
mod protocol;
mod sys;
mod watch;

pub use checks::checks;
pub use executor::{LocalExecutor, Options};
pub use interpreter::Python;
