//! Runs Python in WebAssembly: CPython with its scientific stack, as a fresh instance for each session, made in
//! microseconds from a copy-on-write memory image.
//!
//! A guest reaches nothing of the host: no directory, no network, no process. It has a file system of its own in memory,
//! clocks, random numbers, and what it prints.
//!
//! ```no_run
//! use cellblock_exec::{ExecutionRequest, Executor, SessionSpec, Silent};
//! use cellblock_wasi::{ImageStore, Options, WasiExecutor};
//!
//! # async fn example() -> cellblock_exec::Result<()> {
//! let executor = WasiExecutor::start(ImageStore::in_user_cache()?, Options::default(), &Silent).await?;
//! let mut session = executor.open(SessionSpec::default()).await?;
//! let result = session.execute(ExecutionRequest::python("print('hi')")).await?;
//! assert_eq!(result.stdout.text(), "hi\n");
//! # Ok(())
//! # }
//! ```

mod clock;
mod doctor;
mod engine;
mod executor;
mod fs;
mod host;
mod images;
mod imports;
mod memory;
#[cfg(any(test, feature = "oracles"))]
pub mod oracles;
mod packages;
mod python;
mod session;
mod turn;

pub use doctor::checks;
pub use executor::{Options, WasiExecutor};
pub use images::{ImageInfo, ImageState, ImageStore};
