//! Runs code in containers, through the API of a Docker engine.
//!
//! One container is one session. Our driver is its first process; blocks reach it over the
//! container's standard input, which costs a fraction of a millisecond where starting a process in
//! a container costs a hundred. Some containers are kept idle, so that opening a session costs no
//! start either.
//!
//! A container has no network, no capability, no host directory, a read-only root, and three
//! directories of limited size to write to. The resources that a session may use come from its
//! [`Limits`](cellblock_exec::Limits); everything else that it may reach is granted by name. When
//! this process ends, in whatever way, its containers end.
//!
//! ```text
//!  open ─► Pool ─┬─ an idle container of this kind (image, limits, grants)
//!                └─ make: create ─► attach ─► start ─► driver ─► DriverSession
//!  install ─► a container of its own (network, pip) ─► commit: a layer, which is an image
//!                                                   └─► its directory ─► /packages of the session
//! ```
//!
//! - `connect` finds the engine as the `docker` command does; `flags` is everything that a
//!   container may do, on one page.
//! - Each container has a `keeper`, a task that waits for its end and removes it when it is
//!   dropped; `removal` does it in a thread when the runtime shuts down. `AutoRemove` and
//!   `StdinOnce` do it when the whole process is gone; `owner` and `sweep` handle the rest.
//! - `pool` keeps containers of the kind that was requested last, with the driver up, and makes the
//!   next when one is taken.
//! - `packages`: the name of a layer is a hash of the image and the request, so another session
//!   needs no network. `/packages` is a volume without a name, which is removed with its container;
//!   it belongs to root.
//! - `recipe` is what `docker-python` is made from; `build` makes it on a registry's image or from
//!   Debian packages, and puts the same pinned wheels into either.
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

mod build;
mod cell;
pub mod connect;
mod container;
mod doctor;
mod engine;
mod executor;
mod failure;
mod flags;
mod image;
mod job;
mod keeper;
mod names;
mod options;
#[cfg(any(test, feature = "oracles"))]
pub mod oracles;
mod owner;
mod packages;
mod pip;
mod pool;
mod recipe;
mod registry;
mod removal;
mod seccomp;
mod session_image;
mod stream;
mod sweep;
mod volume;

pub use doctor::checks;
pub use engine::Engine;
pub use executor::DockerExecutor;
pub use image::{ImageInfo, images, pull, remove};
pub use names::DEFAULT_IMAGE;
pub use options::{Gpus, HostMount, Options};
pub use recipe::image_reference;
