//! Colours, sizes, and output that needs no screen.

use std::io::Write as _;

use anstyle::{AnsiColor, Style};
use anyhow::Result;
use cellblock_agents::sanitize::one_line;
use cellblock_answer::CodeBlock;

/// Headers of blocks.
pub const HEADER: Style = AnsiColor::Cyan.on_default().bold();
/// Success.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// Failure.
pub const BAD: Style = AnsiColor::Red.on_default().bold();
/// Additional information.
pub const NOTE: Style = AnsiColor::Yellow.on_default();

/// Prints a `note:` line to standard error.
pub fn note(text: &str) {
    // There is no other place to report that standard error cannot be written.
    let _ = writeln!(anstream::stderr(), "{NOTE}note:{NOTE:#} {}", one_line(text));
}

/// Prints bytes to standard output, unchanged.
///
/// # Errors
/// If standard output cannot be written.
pub fn print_bytes(bytes: &[u8]) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.flush()?;
    Ok(())
}

/// Prints a value as one line of JSON to standard output.
///
/// # Errors
/// If standard output cannot be written.
pub fn print_json(value: &impl serde::Serialize) -> Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    print_bytes(&line)
}

/// Returns a number of bytes for people, such as `20.3 KiB`.
pub fn format_bytes(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}

/// Returns the language of a block, or `no language`.
pub fn language_name(block: &CodeBlock) -> &str {
    block.language.as_ref().map_or("no language", |language| language.as_str())
}

/// Returns the title of a block: language, file name and line.
pub fn block_title(block: &CodeBlock) -> String {
    let inferred = if block.inferred { " (inferred)" } else { "" };
    let name = block.filename.as_deref().map(|name| format!(" {name}")).unwrap_or_default();
    format!("{}{inferred}{name}, line {}", language_name(block), block.line)
}
