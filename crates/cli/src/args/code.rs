//! Arguments of the commands on code: `run`, `exec` and `extract`.

use std::path::PathBuf;

use clap::Args;

use super::session::SessionArgs;
use crate::exit;

const RUN_EXAMPLES: &str = "\
Examples:
  cellblock run answer.md
  cellblock run answer.md --workspace data/ --out charts/
  cellblock run - --json --timeout 10s --install never < answer.md";

const EXEC_EXAMPLES: &str = "\
Examples:
  cellblock exec -c 'print(6 * 7)'
  cellblock exec plot.py --out charts/
  generate | cellblock exec -l python - --json";

/// Run the code blocks of a Markdown answer, in order, in one session
///
/// The run stops at the first block that fails. Output of the programs goes to standard output;
/// headers, notes and the paths of created files go to standard error. On a terminal, control
/// sequences are removed from the output. Data blocks (JSON, CSV, program output) do not run; those
/// with a file name are saved in the workspace. A Python block that fails because a well-known
/// package is missing runs again with the package installed.
#[derive(Debug, Args)]
#[command(after_long_help = format!("{RUN_EXAMPLES}\n\n{}", exit::help_for_run()))]
pub struct RunArgs {
    /// Markdown file; `-` is standard input
    #[arg(value_name = "FILE", default_value = "-")]
    pub file: PathBuf,
    /// Run each block in a new session, which shares nothing with the blocks before
    #[arg(long, alias = "fresh")]
    pub session_per_block: bool,
    #[command(flatten)]
    pub session: SessionArgs,
    #[command(flatten)]
    pub streams: StreamArgs,
}

/// Run a piece of code
///
/// Everything that `cellblock run --help` says about a block holds for this one.
#[derive(Debug, Args)]
#[command(after_long_help = format!("{EXEC_EXAMPLES}\n\n{}", exit::help_for_run()))]
pub struct ExecArgs {
    /// File with the code; `-` is standard input
    #[arg(value_name = "FILE", default_value = "-", conflicts_with = "code")]
    pub file: PathBuf,
    /// Code to run, instead of a file
    #[arg(short, long, value_name = "CODE")]
    pub code: Option<String>,
    /// Language of the code [default: inferred from the file name or the code, else Python]
    #[arg(short, long, value_name = "LANGUAGE")]
    pub language: Option<String>,
    #[command(flatten)]
    pub session: SessionArgs,
    #[command(flatten)]
    pub streams: StreamArgs,
}

/// Show the code blocks of a Markdown answer without running them
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

/// Standard input of the programs, and the form of the result.
#[derive(Debug, Args)]
pub struct StreamArgs {
    /// File that each block gets as its standard input, from the beginning [default: empty]
    #[arg(long, value_name = "FILE", help_heading = "Files")]
    pub stdin: Option<PathBuf>,
    /// Print the result as one JSON object on standard output, and nothing else there
    #[arg(long)]
    pub json: bool,
}
