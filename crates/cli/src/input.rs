//! Reading what is to be run.

use std::{
    fs::File,
    io::{IsTerminal as _, Read},
    path::Path,
};

use anyhow::{Context as _, Result};

use crate::failure::usage;

/// The largest input, in bytes. It is read into memory, and no answer of a model comes near it.
const MAX_INPUT: u64 = 256 * 1024 * 1024;

/// Reads a file, or standard input for `-`, as text. A byte order mark at its beginning is left out.
pub fn text(path: &Path) -> Result<String> {
    let name = name(path);
    let bytes = bytes(path)?;
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(usage(
            format!("{name} is empty"),
            "give a Markdown file with code blocks, or - for standard input",
        ));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let hint =
            "convert it first, for example: iconv -f UTF-16 -t UTF-8 answer.md | cellblock run -";
        usage(format!("{name} is not UTF-8: the byte at offset {at} is not text"), hint)
    })?;
    Ok(match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    })
}

/// Reads a file, or standard input for `-`.
pub fn bytes(path: &Path) -> Result<Vec<u8>> {
    let name = name(path);
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        let stdin = std::io::stdin();
        if stdin.is_terminal() {
            let _ = std::io::Write::write_all(
                &mut anstream::stderr(),
                b"reading from the terminal; end with Ctrl-D\n",
            );
        }
        read(stdin.lock(), &mut bytes).with_context(|| format!("cannot read {name}"))?;
    } else {
        let file = File::open(path).map_err(|error| {
            usage(format!("cannot open {name}: {error}"), "check the path; - means standard input")
        })?;
        if file.metadata().is_ok_and(|metadata| metadata.is_dir()) {
            return Err(usage(
                format!("{name} is a directory"),
                "give a file; input files go to --workspace",
            ));
        }
        read(file, &mut bytes).with_context(|| format!("cannot read {name}"))?;
    }
    if bytes.len() as u64 > MAX_INPUT {
        return Err(usage(
            format!("{name} is larger than 256 MiB"),
            "split it into several answers",
        ));
    }
    Ok(bytes)
}

fn read(from: impl Read, into: &mut Vec<u8>) -> std::io::Result<usize> {
    from.take(MAX_INPUT + 1).read_to_end(into)
}

/// How messages call an input.
pub fn name(path: &Path) -> String {
    if path == Path::new("-") { "standard input".into() } else { path.display().to_string() }
}
