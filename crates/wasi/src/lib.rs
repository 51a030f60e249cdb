//! Runs Python in WebAssembly: CPython with its scientific stack, a fresh instance for each
//! session, made in microseconds from a copy-on-write memory image.
//!
//! A guest reaches nothing of the host: no directory, no network, no process. It has a file system
//! of its own in memory, clocks, random numbers, and its output.
//!
//! ```no_run
//! use cellblock_exec::{ExecutionRequest, Executor, SessionSpec, Silent};
//! use cellblock_wasi::{ImageStore, Options, WasiExecutor};
//!
//! # async fn example() -> cellblock_exec::Result<()> {
//! let store = ImageStore::in_user_cache()?;
//! let executor = WasiExecutor::start(store, Options::default(), &Silent).await?;
//! let mut session = executor.open(SessionSpec::default()).await?;
//! let result = session.execute(ExecutionRequest::python("print('hi')")).await?;
//! assert_eq!(result.stdout.text(), "hi\n");
//! # Ok(())
//! # }
//! ```

mod calls;
mod checks;
mod clock;
mod engine;
mod executor;
mod fs;
mod host;
mod images;
mod imports;
mod memory;
#[cfg(any(test, feature = "oracles"))]
pub mod oracles;
mod python;
mod session;
mod sys;
mod turn;

pub use checks::checks;
pub use executor::{Options, WasiExecutor};
pub use images::{ImageInfo, ImageState, ImageStore};
