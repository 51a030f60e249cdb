//! What people see.
//!
//! Standard output carries what programs write to theirs, the transcript of a chat, or the one object of `--json`, and nothing
//! else. Everything that cellblock itself says goes to standard error. On a terminal, control sequences of programs are taken out (see
//! [`sanitize`]); through a pipe every byte passes unchanged.

pub mod artifacts;
pub mod console;
pub mod outcome;
pub mod progress;
pub mod screen;
mod writer;

use std::io::Write as _;

use anstyle::{AnsiColor, Style};
pub use cellblock_agents::sanitize;

/// Headers of blocks.
pub const HEADER: Style = AnsiColor::Cyan.on_default().bold();
/// What went well.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// What failed.
pub const BAD: Style = AnsiColor::Red.on_default().bold();
/// What a person should know besides.
pub const NOTE: Style = AnsiColor::Yellow.on_default();

/// Prints a `note:` line to standard error.
pub fn note(text: &str) {
    // A standard error that cannot be written leaves nobody to tell.
    let _ = writeln!(anstream::stderr(), "{NOTE}note:{NOTE:#} {}", sanitize::one_line(text));
}
