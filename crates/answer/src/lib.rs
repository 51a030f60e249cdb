//! A model's answer, from text to results: its code blocks, their languages, file names and
//! packages, and their run in a session.
//!
//! - [`markdown`] finds the code blocks of a Markdown text, [`language`] names and infers
//!   languages.
//! - [`packages`] finds install commands in code and missing packages in errors, and decides which
//!   packages may be installed.
//! - [`run`] runs blocks in order, installs missing packages, retries, and reports.
//!
//! Code runs in any executor of the contract `cellblock-exec`; this crate knows none of them. It
//! starts no program, opens no socket and prints nothing.

mod filename;
pub mod language;
pub mod markdown;
#[cfg(any(test, feature = "oracles"))]
pub mod oracles;
pub mod packages;
mod pattern;
pub mod run;

pub use markdown::{CodeBlock, code_blocks};
