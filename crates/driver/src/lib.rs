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
pub use interpreters::{INTERPRETERS, Interpreter};
pub use program::DriverProgram;
pub use relay::{Relay, Relays, relays};
pub use session::DriverSession;
pub use setup::{PackageDirectories, Setup};
