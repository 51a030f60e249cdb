//! A model's answer, from text to results: which text is code, in which language, for which file, with which packages, and
//! the run of all its blocks in a session.
//!
//! - [`markdown`] finds the code blocks of a Markdown text, [`language`] names and infers languages.
//! - [`packages`] says what code wants to install, what a failed block lacks, and what may be installed.
//! - [`run`] runs blocks in order, installs what is missing and tries again, and reports.
//!
//! Code runs in any executor of the contract `cellblock-exec`; this crate knows none of them. It starts no program, opens no
//! socket and prints nothing.

mod filename;
pub mod language;
pub mod markdown;
#[cfg(any(test, feature = "oracles"))]
pub mod oracles;
pub mod packages;
mod pattern;
pub mod run;

pub use markdown::{CodeBlock, code_blocks};
