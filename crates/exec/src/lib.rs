//! The contract of code execution, for those who run code and those who have code to run.
//!
//! - [`Executor`] opens a [`Session`] as a [`SessionSpec`] says; the session runs
//!   [`ExecutionRequest`]s and returns [`ExecutionResult`]s. [`Limits`] and [`Network`] bound it,
//!   [`Capabilities`] say what an executor can enforce.
//! - [`workspace`] has the gates for paths into a session's files and out of them.
//! - [`HostTools`] are functions of the host that a program may call; [`python`] has the Python
//!   side of that, and of how a block runs, which all executors share.
//! - [`auto`] is an executor that chooses among others.
//!
//! This crate knows no backend and no text of a model. It starts no program, opens no socket and
//! prints nothing.

use std::{future::Future, pin::Pin};

pub mod auto;
mod capture;
mod error;
mod executor;
mod host;
mod language;
mod limits;
pub mod millis;
#[cfg(any(test, feature = "oracles"))]
pub mod oracles;
pub mod python;
mod replay;
mod requirement;
mod result;
mod setup;
pub mod workspace;

pub use capture::Capture;
pub use error::{Cause, Error, Result, causes, with_causes};
pub use executor::{
    Capabilities, ExecutionRequest, Executor, InputFile, OutputSink, Session, SessionSpec, Stream,
};
pub use host::{HostFunction, HostTools, MAX_HOST_CALL_BYTES};
pub use language::Language;
pub use limits::{FLOOD_FACTOR, HostRule, Limit, Limits, Network};
pub use replay::{HostReplay, MAX_REPLAY_BYTES, NewCalls};
pub use requirement::{InstallReport, PackageName, Requirement, RequirementRefused};
pub use result::{
    Artifact, Captured, ExecutionResult, Isolation, MAX_ARTIFACT_BYTES, MAX_ARTIFACTS, Outcome,
    RefusedFile, Usage, media_type,
};
pub use setup::{Check, Progress, Silent};
/// Ends an execution early; see [`ExecutionRequest::cancel`].
pub use tokio_util::sync::CancellationToken;

/// A boxed future, as the public entry points of the library crates return it.
///
/// An `async fn` is compiled again in every binary that awaits it. A function that returns a boxed
/// future is compiled once, in the crate that defines it, so programs and tests link quickly.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
