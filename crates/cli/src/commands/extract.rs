//! `cellblock extract`: shows the blocks of an answer.

use std::io::Write as _;

use anyhow::Result;
use cellblock_agents::sanitize::{Sanitizer, one_line};

use crate::{
    args::code::ExtractArgs,
    exit, input,
    render::text::{HEADER, block_title, print_json},
};

/// Runs the command.
pub fn extract(args: &ExtractArgs) -> Result<u8> {
    let blocks = input::answer(&args.file)?;
    if args.json {
        print_json(&blocks)?;
        return Ok(exit::SUCCESS);
    }
    // Removes our colours if this is not a terminal. The code is untrusted and always sanitized.
    let mut stdout = anstream::stdout().lock();
    for block in &blocks {
        let title = one_line(&block_title(block));
        writeln!(stdout, "{HEADER}[{}/{}]{HEADER:#} {title}", block.index + 1, blocks.len())?;
        if let Some(refused) = &block.refused_filename {
            writeln!(stdout, "note: {}", one_line(&refused.to_string()))?;
        }
        let code = Sanitizer::default().push(block.code.as_bytes());
        writeln!(stdout, "{}", code.trim_end_matches('\n'))?;
    }
    Ok(exit::SUCCESS)
}
