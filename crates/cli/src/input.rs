//! Reads the command's input: answers, code, tasks and images, from files or standard input.

use std::{
    fs::File,
    io::{IsTerminal as _, Read, Write as _},
    path::Path,
};

use anyhow::{Context as _, Result};
use cellblock_answer::{CodeBlock, code_blocks};

use crate::failure::usage;

/// Maximum size of an input in bytes. All of it is held in memory, and no answer of a model comes
/// close to this size.
const MAX_INPUT: u64 = 256 * 1024 * 1024;

/// Returns the code blocks of a Markdown file, or of standard input for `-`.
///
/// # Errors
/// If the file cannot be read or has no code block.
pub fn answer(path: &Path) -> Result<Vec<CodeBlock>> {
    let blocks = code_blocks(&text(path)?);
    if blocks.is_empty() {
        return Err(usage(
            format!("{} has no code block", name(path)),
            "put code between lines of ``` in Markdown; `cellblock exec FILE` runs a file that is \
             code itself",
        ));
    }
    Ok(blocks)
}

/// Reads a file, or standard input for `-`, as text. Drops a byte order mark at the beginning.
///
/// # Errors
/// If it cannot be read, is empty, or is not UTF-8.
pub fn text(path: &Path) -> Result<String> {
    let name = name(path);
    let bytes = bytes(path)?;
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(usage(
            format!("{name} is empty"),
            "give a Markdown file with code blocks, or `-` for standard input",
        ));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        usage(
            format!("{name} is not UTF-8: invalid byte at offset {offset}"),
            "convert it first, for example: iconv -f UTF-16 -t UTF-8 answer.md | cellblock run -",
        )
    })?;
    Ok(match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    })
}

/// Reads a file, or standard input for `-`.
///
/// # Errors
/// If it cannot be read or is larger than 256 MiB.
pub fn bytes(path: &Path) -> Result<Vec<u8>> {
    let name = name(path);
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        let stdin = std::io::stdin();
        if stdin.is_terminal() {
            let _ = writeln!(anstream::stderr(), "reading from the terminal; press Ctrl-D to end");
        }
        read(stdin.lock(), &mut bytes).with_context(|| format!("cannot read {name}"))?;
    } else {
        let file = File::open(path).map_err(|error| {
            usage(format!("cannot open {name}: {error}"), "check the path; `-` is standard input")
        })?;
        if file.metadata().is_ok_and(|metadata| metadata.is_dir()) {
            return Err(usage(
                format!("{name} is a directory"),
                "give a file; --workspace takes a directory of input files",
            ));
        }
        read(file, &mut bytes).with_context(|| format!("cannot read {name}"))?;
    }
    if bytes.len() as u64 > MAX_INPUT {
        return Err(usage(format!("{name} is larger than 256 MiB"), "split it into several files"));
    }
    Ok(bytes)
}

fn read(from: impl Read, into: &mut Vec<u8>) -> std::io::Result<usize> {
    from.take(MAX_INPUT + 1).read_to_end(into)
}

/// Returns the name of an input for messages.
pub fn name(path: &Path) -> String {
    if path == Path::new("-") { "standard input".into() } else { format!("`{}`", path.display()) }
}
