//! What code execution is, for every backend: code blocks out of a model's answer, limits, outcomes, and the
//! [`Executor`] and [`Session`] contract.
//!
//! This crate knows no backend. It starts no program, opens no socket and prints nothing.

use std::{future::Future, pin::Pin};

pub mod auto;
mod block;
mod capture;
mod check;
#[cfg(feature = "conformance")]
pub mod conformance;
mod error;
mod executor;
pub mod filename;
mod host;
pub mod language;
mod limits;
pub mod markdown;
#[cfg(any(test, feature = "oracles"))]
pub mod oracles;
pub mod packages;
mod pattern;
mod progress;
pub mod python;
mod result;
pub mod run;

pub use block::{CodeBlock, Language};
pub use capture::Capture;
pub use check::Check;
pub use error::{Cause, Error, Result, with_causes};
pub use executor::{
    Capabilities, ExecutionRequest, Executor, InputFile, OutputSink, Session, SessionSpec, Stream,
};
pub use host::{HostFunction, HostTools, MAX_HOST_CALL_BYTES};
pub use limits::{FLOOD_FACTOR, HostRule, Limit, Limits, Network};
pub use markdown::code_blocks;
pub use packages::{InstallReport, Requirement};
pub use progress::{Progress, Silent};
pub use result::{
    Artifact, Captured, ExecutionResult, Isolation, MAX_ARTIFACT_BYTES, MAX_ARTIFACTS, Outcome,
    RefusedFile, Usage, media_type,
};
/// Ends an execution early; see [`ExecutionRequest::cancel`].
pub use tokio_util::sync::CancellationToken;

/// A boxed future, as the public entry points of the library crates return it.
///
/// An `async fn` is compiled again in every binary that awaits it. A function that returns a boxed future is compiled
/// once, in the crate that defines it, so programs and tests link quickly.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
