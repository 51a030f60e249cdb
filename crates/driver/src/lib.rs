//! The process that lives in a cell and runs its blocks, and the host's side of it.
//!
//! A **cell** is an isolated place with a file system of its own: a hardened process on this
//! machine, or a container. Its first process is the **driver**, a Python program of ours
//! ([`command`]). The driver starts what blocks need (a Python interpreter that keeps its
//! variables, a shell, any program of [`INTERPRETERS`]), writes and collects files, and exchanges
//! messages with the host over one stream. It never runs a block's code itself.
//!
//! A backend makes the cell and provides its stream; [`DriverSession`] makes a session of both. So
//! blocks run alike in every backend, with the same limits and the same results.
//!
//! ```text
//!  host                                │ cell
//!                                      │
//!  block ─► DriverSession ─► Wire ═════╪═► driver ──┬─► worker: Python, keeps its variables
//!              │   ▲          one      │   (1st     ├─► bash, node, …: a process per block
//!              │   └── messages ═══════╪══ process) └─► listeners for granted hosts
//!              │                       │       ▲
//!              ├─ output, files, end ◄─┼───────┘ pipes, workspace, control group
//!              ├─ Connections ─► host  │
//!              └─ Cell: usage, stop, kill, restart, install
//! ```
//!
//! - **Start.** [`command`] returns the arguments of a Python that reads its program from the
//!   stream (`boot.py`). The program is sent compiled if an earlier driver has sent back what it
//!   compiled ([`DriverProgram`]), because compiling takes as long as starting an interpreter.
//! - **A block** of Python goes to the worker, a fork of the driver that runs `notebook.py`. For
//!   any other block, a program of [`INTERPRETERS`] is started with the path of a file. Output
//!   passes through the driver while it arrives. When the block ends, the driver sends the files
//!   that are new or changed (by inode, change time, size and kind), then how the block ended.
//! - **Stop.** At the deadline, on cancellation, on a flood of output and when a future is dropped,
//!   the host sends a stop. The driver, as process 1, calls `kill(-1, SIGKILL)`, collects the ended
//!   processes and starts a new worker. A driver that does not answer within 10 s is killed with
//!   its cell. If the driver is not process 1 ([`DriverConfig::alone`] is false), the [`Cell`]
//!   first kills the programs from outside.
//! - **End.** The driver ends with its input. As process 1 it takes everything else with it.
//! - **Files** are written by the driver on request, and come out as messages. The host checks
//!   names, sizes and number again (`artifacts`).
//! - **Relays.** For a granted host the driver listens inside the cell, on the address that the
//!   name has in the cell's hosts file ([`relays`]). Messages name each connection; `connections`
//!   connects to the host and passes bytes on, with a window in each direction.
//!
//! From the bottom up: `protocol` has the kinds of messages, `wire` sends and receives them,
//! `driver` starts a driver, `link` keeps a session's driver alive, `running` waits for a block,
//! `session` is the session.

mod artifacts;
pub mod calls;
mod cell;
mod config;
mod connections;
mod driver;
mod errno;
mod interpreters;
mod link;
mod loss;
#[cfg(any(test, feature = "oracles"))]
pub mod oracles;
mod program;
mod protocol;
mod relay;
mod running;
mod session;
mod setup;
mod verdict;
mod wire;

pub use cell::{Cell, CellInstall, CellUsage, DriverStream, MIN_MEMORY};
pub use config::{DriverConfig, command};
pub use driver::Driver;
pub use interpreters::{INTERPRETERS, LanguageInterpreter};
pub use program::DriverProgram;
pub use relay::{Relay, Relays, relays};
pub use session::DriverSession;
pub use setup::{PackageDirectories, Setup};
