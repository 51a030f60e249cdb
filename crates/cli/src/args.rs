//! The command line: all commands and options, with their help texts. It knows no command's code.

pub mod chat;
pub mod code;
pub mod image;
pub mod session;
pub mod values;

use clap::{Args, Parser, Subcommand, builder::Styles};
use clap_complete::Shell;

use crate::exit;

const EXAMPLES: &str = "\
Examples:
  Run the code blocks of an answer, with input files; charts go to ./cellblock-out:
    cellblock run answer.md --workspace data/

  Run an answer from the clipboard, and read the result as JSON:
    xclip -o | cellblock run --json - | jq .blocks[0].outcome

  Run a piece of code:
    cellblock exec -c 'print(6 * 7)'

  Run a shell script in a container that can connect to one host:
    cellblock exec -l bash --executor docker --allow-host example.org script.sh

  Let a model solve a task with code that runs in the sandbox:
    cellblock chat \"Plot the change of two stock prices in prices.csv\" --workspace data/

  Show the code blocks of an answer without running them:
    cellblock extract answer.md";

/// Run the code of language models' answers in a sandbox, or chat with models that write it
#[derive(Debug, Parser)]
#[command(
    name = "cellblock",
    version,
    styles = styles(),
    max_term_width = 100,
    after_help = after_help(),
    after_long_help = format!("{EXAMPLES}\n\n{}", after_help())
)]
pub struct Cli {
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

fn after_help() -> String {
    format!("{}\n`cellblock chat --help` lists those of a chat", exit::help_for_run())
}

/// The commands. Their help texts stand at their arguments, except for those without any.
#[derive(Debug, Subcommand)]
pub enum Command {
    Run(code::RunArgs),
    Exec(code::ExecArgs),
    Chat(Box<chat::ChatArgs>),
    Extract(code::ExtractArgs),
    /// Fetch, list, verify, extend and remove the images that sessions start from
    #[command(subcommand)]
    Image(image::ImageCommand),
    /// List and remove the named package sets of the local executor
    #[command(subcommand)]
    Environment(EnvironmentCommand),
    /// Check what works on this machine, and say how to fix the rest
    ///
    /// The exit status is 1 if a check fails, also one that you do not need.
    Doctor,
    Completions(CompletionsArgs),
    /// Print the manual page
    Man,
}

/// Commands on named package sets.
#[derive(Debug, Subcommand)]
pub enum EnvironmentCommand {
    /// List the environments with their packages
    List,
    /// Remove an environment; `cellblock image prune` then frees the space of its packages
    Remove {
        /// Name of the environment
        name: String,
    },
}

/// Print a completion script for a shell
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  cellblock completions bash > ~/.local/share/bash-completion/completions/cellblock
  cellblock completions fish > ~/.config/fish/completions/cellblock.fish")]
pub struct CompletionsArgs {
    /// Shell to complete in
    pub shell: Shell,
}

fn styles() -> Styles {
    use anstyle::{AnsiColor, Style};
    let strong = Style::new().bold();
    Styles::styled()
        .header(strong)
        .usage(strong)
        .literal(AnsiColor::Cyan.on_default())
        .placeholder(Style::new())
}
