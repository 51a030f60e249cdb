//! The command line.

use std::path::PathBuf;

use cellblock_answer::packages::InstallMode;
use cellblock_docker::HostMount;
use cellblock_exec::{Isolation, Limits, PackageName};
use clap::{Args, Parser, Subcommand, builder::Styles};

use crate::{commands, units};

/// Runs the code that language models write in a sandbox, and holds the conversations in which they write it.
#[derive(Debug, Parser)]
#[command(name = "cellblock", version, styles = styles(), max_term_width = 100, after_help = EXIT_STATUS, after_long_help = EXAMPLES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_STATUS: &str = "Exit status: 0 every block exited 0; 1 a block failed; 2 usage; 124 out of time; 125 cellblock \
itself failed; 126 refused by policy or unsupported; 130 interrupted. `chat` has its own: see its help";

const EXAMPLES: &str = "\
Examples:
  Run all blocks of an answer, with input files, and get its charts in ./cellblock-out:
    cellblock run answer.md --workspace data/

  Run an answer from the clipboard or from another program, and read the result as JSON:
    xclip -o | cellblock run --json - | jq .blocks[0].outcome

  Run one piece of code:
    cellblock exec -c 'print(6 * 7)'

  Run a shell script in a container, with access to one host:
    cellblock exec -l bash --executor docker --allow-host example.org -c 'curl -s https://example.org'

  Have a task done by a model and the sandbox, in a conversation that you can follow:
    cellblock chat \"Plot the change of two stock prices in prices.csv\" --workspace data/

  See what would be run:
    cellblock extract answer.md --json

Exit status:
  0    every block exited 0
  1    a block failed
  2    usage, or input that is no answer (not UTF-8, empty, without a code block)
  124  a block ran out of wall time
  125  cellblock itself failed
  126  refused by policy, or unsupported
  130  interrupted by Ctrl-C
`cellblock chat --help` has those of a chat";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run all code blocks of a Markdown answer, in order, in one session
    Run(commands::run::RunArgs),
    /// Run one piece of code
    Exec(commands::exec::ExecArgs),
    /// Give a task to agents: a model writes code, the sandbox runs it, you can have a say
    Chat(Box<commands::chat::ChatArgs>),
    /// Show the code blocks of a Markdown answer without running them
    Extract(commands::extract::ExtractArgs),
    /// Fetch, list and remove the images that code runs in
    #[command(subcommand)]
    Image(commands::image::ImageCommand),
    /// List and remove the packages that the local executor keeps under a name
    #[command(subcommand)]
    Environment(commands::environment::EnvironmentCommand),
    /// Tell what works on this machine, and what to do about what does not
    Doctor,
    /// Print a completion script for a shell
    Completions(commands::completions::CompletionsArgs),
    /// Print the manual page
    Man,
}

/// What `run` and `exec` have besides: what programs read, and the form of the result.
#[derive(Debug, Args)]
pub struct StreamArgs {
    /// File that every block reads as its standard input, each from the beginning
    #[arg(long, value_name = "FILE", help_heading = "Files")]
    pub stdin: Option<PathBuf>,
    /// Print one JSON object on standard output, and nothing else there
    #[arg(long)]
    pub json: bool,
}

/// Options of a session, for `run`, `exec` and `chat`.
#[derive(Debug, Args)]
pub struct SessionArgs {
    /// Directory whose files are copied into the workspace; links, devices and what is too large are left out, by name
    #[arg(long, value_name = "DIR", help_heading = "Files")]
    pub workspace: Option<PathBuf>,
    /// Directory that artifacts are written to; made when there are any
    #[arg(long, value_name = "DIR", default_value = "cellblock-out", help_heading = "Files")]
    pub out: PathBuf,
    /// Replace files that were in the output directory before; without it, a new file whose name is
    /// taken gets a number, as in `figure-1-2.png`
    #[arg(long, help_heading = "Files")]
    pub overwrite: bool,
    /// Where code runs: `wasi`, `docker`, `local`, or `auto` for the strictest of them that can run the block
    #[arg(long, value_name = "NAME", default_value = "auto", help_heading = "Sandbox")]
    pub executor: String,
    /// The weakest isolation that `auto` may choose: `wasm`, `container`, `namespaces` or `landlock`. With `--executor local`, the
    /// level itself, which can be `none`; without it, the strongest that works here, but never `none`
    #[arg(long, value_name = "LEVEL", value_parser = units::isolation, help_heading = "Sandbox")]
    pub isolation: Option<Isolation>,
    /// Image that the session starts from; see `cellblock image list`. For Docker, any image of the engine that has Python
    #[arg(long, value_name = "NAME", help_heading = "Sandbox")]
    pub image: Option<String>,
    /// Docker: the engine's runtime, such as `runsc`
    #[arg(long, value_name = "NAME", help_heading = "Sandbox")]
    pub runtime: Option<String>,
    /// Local: a virtual environment of yours that programs may read
    #[arg(long, value_name = "DIR", help_heading = "Sandbox")]
    pub venv: Option<PathBuf>,
    /// Local: a named set of packages that is kept from session to session
    #[arg(long, value_name = "NAME", conflicts_with = "venv", help_heading = "Sandbox")]
    pub environment: Option<String>,
    /// Host that code may connect to, `HOST:PORT`, or `HOST` for the ports of the web; may be repeated. Nothing else is reached
    #[arg(long, value_name = "HOST", value_parser = units::host, help_heading = "Grants")]
    pub allow_host: Vec<units::Host>,
    /// Docker: directory of this machine that code may read, `/host/dir:/cell/dir`, or write with `:rw`; may be repeated
    #[arg(long, value_name = "DIRS", value_parser = units::mount, help_heading = "Grants")]
    pub mount: Vec<HostMount>,
    /// Docker: give all graphics processors
    #[arg(long, help_heading = "Grants")]
    pub gpus: bool,
    /// Wall time for each block, sleeping included: `30s`, `500ms`, `2m`, or seconds
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = units::duration, help_heading = "Limits")]
    pub timeout: std::time::Duration,
    /// Processor time for each block; without it only `--timeout` counts
    #[arg(long, value_name = "TIME", value_parser = units::duration, help_heading = "Limits")]
    pub cpu: Option<std::time::Duration>,
    /// Instructions for each block, counted one by one: a program then stops at the same place in every run. Slower, and the
    /// image is compiled once more for it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Limits")]
    pub fuel: Option<u64>,
    /// Memory of the session, interpreter included: `512m`, `1g`, or bytes
    #[arg(long, value_name = "SIZE", default_value = "1g", value_parser = units::size, help_heading = "Limits")]
    pub memory: u64,
    /// Bytes of all files that the session writes
    #[arg(long, value_name = "SIZE", default_value = "256m", value_parser = units::size, help_heading = "Limits")]
    pub disk: u64,
    /// Number of files and directories that the session makes
    #[arg(long, value_name = "N", default_value_t = Limits::default().files, value_parser = clap::value_parser!(u32).range(1..), help_heading = "Limits")]
    pub files: u32,
    /// Number of processes alive at once
    #[arg(long, value_name = "N", default_value_t = Limits::default().processes, value_parser = clap::value_parser!(u32).range(1..), help_heading = "Limits")]
    pub processes: u32,
    /// Refuse to run where one of these limits can only be watched, not enforced
    #[arg(long, help_heading = "Limits")]
    pub strict_limits: bool,
    /// Bytes kept of each of standard output and standard error of a block
    #[arg(long, value_name = "SIZE", default_value = "1m", value_parser = units::size, help_heading = "Limits")]
    pub output_limit: u64,
    /// Which missing packages are installed: `never`, `known` (well-known ones), `ask`, or `any`
    #[arg(long, value_name = "MODE", default_value = "known", value_parser = units::install_mode, help_heading = "Packages")]
    pub install: InstallMode,
    /// Package that is installed without a question; may be repeated
    #[arg(long, value_name = "NAME", value_parser = units::package, help_heading = "Packages")]
    pub allow_package: Vec<PackageName>,
    /// Package that is never installed; may be repeated
    #[arg(long, value_name = "NAME", value_parser = units::package, help_heading = "Packages")]
    pub deny_package: Vec<PackageName>,
    /// How often a block that lacked a package may run again
    #[arg(long, value_name = "N", default_value_t = 3, help_heading = "Packages")]
    pub retries: u32,
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
