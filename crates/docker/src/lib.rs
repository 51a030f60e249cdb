//! Runs code in containers, through the API of a Docker engine.
//!
//! One container is one session. Our driver is its first process; blocks reach it over the container's standard input, which
//! costs a fraction of a millisecond where starting a process in a container costs a hundred. Some containers are kept
//! idle, so that opening a session costs no start either.
//!
//! A container has no network, no capability, no host directory, a read-only root, and three directories of limited size
//! to write to; what a session may use comes from its [`Limits`](cellblock_exec::Limits), and what else it may reach is
//! granted by name. When this process ends, however it ends, its containers end.
//!
//! ```no_run
//! use cellblock_docker::{DockerExecutor, Options};
//! use cellblock_exec::{ExecutionRequest, Executor, SessionSpec, Silent};
//!
//! # async fn example() -> cellblock_exec::Result<()> {
//! let executor = DockerExecutor::start(Options::default(), &Silent).await?;
//! let mut session = executor.open(SessionSpec::default()).await?;
//! let result = session.execute(ExecutionRequest::python("print(6 * 7)")).await?;
//! assert_eq!(result.stdout.text(), "42\n");
//! session.close().await?;
//! executor.close().await
//! # }
//! ```

mod cell;
pub mod connect;
mod container;
mod doctor;
mod engine;
mod executor;
mod flags;
mod image;
mod job;
mod options;
#[cfg(any(test, feature = "oracles"))]
pub mod oracles;
mod owner;
mod packages;
mod pip;
mod pool;
mod recipe;
mod removal;
mod seccomp;
mod stream;
mod sweep;
mod volume;

pub use doctor::checks;
pub use engine::Engine;
pub use executor::DockerExecutor;
pub use image::{
    DEFAULT as DEFAULT_IMAGE, ImageInfo, images, pull, reference as image_reference, remove,
};
pub use options::{Gpus, HostMount, Options};
