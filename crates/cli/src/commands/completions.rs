//! `cellblock completions`: completion scripts.

use anyhow::Result;
use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::man::print;
use crate::args::Cli;

/// Prints a completion script for a shell.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  cellblock completions bash > ~/.local/share/bash-completion/completions/cellblock
  cellblock completions fish > ~/.config/fish/completions/cellblock.fish")]
pub struct CompletionsArgs {
    /// The shell
    pub shell: Shell,
}

/// Runs the command.
pub fn completions(args: &CompletionsArgs) -> Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "cellblock", &mut script);
    print(&script)
}
