//! The process that lives in a cell and runs its blocks, and the host's side of it.
//!
//! A cell is an isolated place with a file system of its own: a hardened process on this machine, a container. Its first
//! process is the **driver**, a Python program of ours ([`command`]). It starts what blocks need (a Python interpreter that
//! keeps its variables, a shell, any program of [`INTERPRETERS`]), writes and collects files, and speaks with the host
//! over one stream of messages. It never runs a block's code itself.
//!
//! A backend makes the cell and gives its stream; [`DriverSession`] makes a session of both. So blocks run alike in every
//! backend, with the same limits and the same results.

mod artifacts;
pub mod calls;
mod cell;
mod config;
mod connections;
mod driver;
mod interpreters;
mod loss;
#[cfg(any(test, feature = "oracles"))]
pub mod oracles;
mod program;
mod protocol;
mod relay;
mod running;
mod session;
mod verdict;
mod wire;

pub use cell::{Cell, Installed, Reading, Stream};
pub use config::{Config, command};
pub use driver::Driver;
pub use interpreters::{INTERPRETERS, Interpreter};
pub use program::Program;
pub use relay::{Relay, Relays, relays};
pub use session::{DriverSession, Packages, Setup};
