//! `cellblock run`: runs all blocks of an answer.

use std::path::Path;

use anyhow::Result;
use cellblock_answer::{CodeBlock, language::is_program};

use super::blocks::{BlockOptions, Detail, run_blocks};
use crate::{args::code::RunArgs, failure::usage, input};

/// Runs the command.
pub async fn run(args: RunArgs) -> Result<u8> {
    let RunArgs { file, session_per_block, session, streams } = args;
    let options = BlockOptions { session, streams, session_per_block, detail: Detail::Answer };
    run_blocks(options, move || answer_to_run(&file)).await
}

/// Reads the blocks of an answer.
///
/// # Errors
/// If no block can run.
fn answer_to_run(file: &Path) -> Result<Vec<CodeBlock>> {
    let blocks = input::answer(file)?;
    let is_data = |block: &CodeBlock| {
        // The language of a block without a tag is inferred later; it may be a program.
        block.language.as_ref().is_some_and(|language| !is_program(language))
    };
    if blocks.iter().all(is_data) {
        return Err(usage(
            format!("{} has no code block to run, only data or output", input::name(file)),
            "`cellblock extract` shows the blocks",
        ));
    }
    Ok(blocks)
}
