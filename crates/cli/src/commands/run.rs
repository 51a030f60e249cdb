//! `cellblock run`: all blocks of an answer.

use std::path::{Path, PathBuf};

use anyhow::Result;
use cellblock_answer::{CodeBlock, code_blocks, language::is_program};
use clap::Args;

use crate::{
    args::{SessionArgs, StreamArgs},
    failure::usage,
    input,
    render::console::Style,
    session,
};

/// Runs all code blocks of a Markdown answer, in order, in one session, and stops at the first failure.
///
/// What the programs write to standard output goes to standard output; headers, artifacts and notes go to standard
/// error. On a terminal, control sequences in the output are taken out. A block that is there to be read (JSON, CSV,
/// program output) is not run; when it has a file name, it is put into the workspace. A Python block that lacks a
/// well-known package gets it installed and runs again.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  cellblock run answer.md
  cellblock run answer.md --workspace data/ --out charts/
  cellblock run - --json --timeout 10s --install never < answer.md")]
pub struct RunArgs {
    /// Markdown file; `-` is standard input
    #[arg(value_name = "FILE", default_value = "-")]
    pub file: PathBuf,
    /// Give each block a session of its own, which shares nothing with the blocks before
    #[arg(long)]
    pub fresh: bool,
    /// Options of the session.
    #[command(flatten)]
    pub session: SessionArgs,
    /// Standard input, and the form of the result.
    #[command(flatten)]
    pub streams: StreamArgs,
}

/// Runs the command.
pub async fn run(args: RunArgs) -> Result<u8> {
    let file = args.file;
    session::run(args.session, args.streams, args.fresh, Style::Answer, move || runnable(&file))
        .await
}

/// The blocks of a file, when there is one to run.
fn runnable(file: &Path) -> Result<Vec<CodeBlock>> {
    let blocks = blocks(file)?;
    // A block without a language may be anything; it is told apart when its turn comes.
    if blocks
        .iter()
        .all(|block| block.language.as_ref().is_some_and(|language| !is_program(language)))
    {
        return Err(usage(
            format!("{} has no code block that can be run, only data or output", input::name(file)),
            "`cellblock extract` shows the blocks that were found",
        ));
    }
    Ok(blocks)
}

/// The blocks of a file, of which there must be one.
pub fn blocks(file: &Path) -> Result<Vec<CodeBlock>> {
    let blocks = code_blocks(&input::text(file)?);
    if blocks.is_empty() {
        return Err(usage(
            format!("{} has no code block", input::name(file)),
            "code stands between lines of ``` in Markdown; `cellblock exec` runs a file that is code itself",
        ));
    }
    Ok(blocks)
}
