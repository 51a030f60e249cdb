//! `cellblock extract`: the blocks, not run.

use std::{io::Write as _, path::PathBuf};

use anyhow::Result;
use clap::Args;

use super::run::blocks;
use crate::render::{HEADER, sanitize};

/// Shows the code blocks of a Markdown answer without running them.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  cellblock extract answer.md
  cellblock extract answer.md --json | jq -r '.[0].code'")]
pub struct ExtractArgs {
    /// Markdown file; `-` is standard input
    #[arg(value_name = "FILE", default_value = "-")]
    pub file: PathBuf,
    /// Print one JSON array: index, language, inferred, filename, line and code of each block
    #[arg(long)]
    pub json: bool,
}

/// Runs the command.
pub fn extract(args: &ExtractArgs) -> Result<u8> {
    let blocks = blocks(&args.file)?;
    if args.json {
        let mut stdout = std::io::stdout().lock();
        serde_json::to_writer(&mut stdout, &blocks)?;
        writeln!(stdout)?;
        return Ok(0);
    }
    // Styles and control sequences go when this is no terminal, and the code is text from anywhere.
    let mut stdout = anstream::stdout().lock();
    for block in &blocks {
        let language = block.language.as_ref().map_or("no language", |language| language.as_str());
        let inferred = if block.inferred { " (inferred)" } else { "" };
        let name = block.filename.as_deref().map(|name| format!(" {name}")).unwrap_or_default();
        let about = sanitize::one_line(&format!("{language}{inferred}{name}, line {}", block.line));
        writeln!(stdout, "{HEADER}[{}/{}]{HEADER:#} {about}", block.index + 1, blocks.len())?;
        if let Some(refused) = &block.refused_filename {
            writeln!(stdout, "note: {}", sanitize::one_line(&refused.to_string()))?;
        }
        let code = sanitize::Sanitizer::default().push(block.code.as_bytes());
        writeln!(stdout, "{}", code.trim_end_matches('\n'))?;
    }
    Ok(0)
}
