//! Arguments of `cellblock chat`.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum, value_parser};

use super::{session::SessionArgs, values};
use crate::exit;

const EXAMPLES: &str = "\
Examples:
  With a key in OPENAI_API_KEY or ANTHROPIC_API_KEY, or with the small local model:
    cellblock chat \"Plot the change of two stock prices in prices.csv\" --workspace data/

  Without code:
    cellblock chat --text-only \"Tell me a joke about stock prices.\"

  Approve, edit or reject each piece of code before it runs:
    cellblock chat --approve always \"Plot prices.csv\" --workspace data/

  With several agents, described in a file:
    cellblock chat --config team.toml \"Write a report on prices.csv\"

  Without a model, from a recording:
    cellblock chat --replay chat.jsonl \"Plot prices.csv\"";

/// Give a task to agents: a model writes code, the sandbox runs it, and you can take part
///
/// The assistant's model writes code, the sandbox runs it, and the model gets the result, until the
/// task is done. The transcript goes to standard output; notes and the paths of created files go to
/// standard error. With --config, the agents and chats are those of a file: groups, teams with a
/// director, several chats in sequence.
#[derive(Debug, Args)]
#[command(
    after_help = exit::help_for_chat(),
    after_long_help = format!("{EXAMPLES}\n\n{}", exit::help_for_chat())
)]
pub struct ChatArgs {
    /// Task; `-` is standard input [default: standard input if it is not a terminal, else you are
    /// asked]
    #[arg(value_name = "TASK")]
    pub task: Option<String>,
    /// Image to send with the task, for models that see: PNG, JPEG, GIF or WebP; may be repeated
    #[arg(long, value_name = "IMAGE", conflicts_with = "resume")]
    pub attach: Vec<PathBuf>,
    /// TOML file that describes models, agents and chats; docs/chat.md explains its fields
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Run no code; agents only talk
    #[arg(long, alias = "no-code")]
    pub text_only: bool,
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub people: PeopleArgs,
    #[command(flatten)]
    pub bounds: BoundArgs,
    #[command(flatten)]
    pub session: SessionArgs,
    /// Print the result as one JSON object on standard output, and nothing else there
    #[arg(long)]
    pub json: bool,
    /// Print events as lines of JSON on standard output while they happen, instead of the
    /// transcript
    #[arg(long, conflicts_with = "json")]
    pub events: bool,
}

/// The model, and where its answers come from.
#[derive(Debug, Args)]
pub struct ModelArgs {
    /// Model, such as `openai/gpt-4o-mini`, `anthropic/claude-haiku-4-5`, `ollama/llama3.2`,
    /// `http://127.0.0.1:8080/v1#name`, `local` or `local:FILE.gguf` [default: the model of the
    /// first provider whose key is in the environment, else `local`]
    #[arg(long, value_name = "NAME", help_heading = "Model")]
    pub model: Option<String>,
    /// Take the answers from a recording, and ask no model
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["record", "model"],
        help_heading = "Model"
    )]
    pub replay: Option<PathBuf>,
    /// Record requests to models and their answers; an existing recording is continued
    #[arg(long, value_name = "FILE", help_heading = "Model")]
    pub record: Option<PathBuf>,
    /// Number under which answers are cached; with another number, models are asked again
    /// [default: 41]
    #[arg(long, value_name = "N", conflicts_with = "no_cache", help_heading = "Model")]
    pub cache_seed: Option<u64>,
    /// Ask models each time, and cache no answer
    #[arg(long, help_heading = "Model")]
    pub no_cache: bool,
}

/// The questions that a person gets.
#[derive(Debug, Args)]
pub struct PeopleArgs {
    /// When you are asked to answer [default: terminate at a terminal, else never]
    #[arg(long, value_name = "WHEN", value_enum, help_heading = "People")]
    pub human: Option<HumanWhen>,
    /// When you are asked to approve code before it runs
    #[arg(
        long,
        value_name = "WHEN",
        value_enum,
        default_value_t = ApproveWhen::Never,
        help_heading = "People"
    )]
    pub approve: ApproveWhen,
}

/// The bounds of a chat, and the file that it is saved in.
#[derive(Debug, Args)]
pub struct BoundArgs {
    /// Maximum number of turns, one message of each side; in a group, of messages [default: 10; 1
    /// with --text-only if you are not asked]
    #[arg(
        long,
        value_name = "N",
        value_parser = value_parser!(u32).range(1..),
        help_heading = "Chat"
    )]
    pub max_turns: Option<u32>,
    /// Maximum cost in US dollars; checked before each request to a model
    #[arg(long, value_name = "USD", value_parser = values::dollars, help_heading = "Chat")]
    pub budget: Option<f64>,
    /// Maximum number of tokens, read and written; checked before each request to a model
    #[arg(
        long,
        alias = "max-tokens-total",
        value_name = "N",
        value_parser = value_parser!(u64).range(1..),
        help_heading = "Chat"
    )]
    pub max_total_tokens: Option<u64>,
    /// Maximum time for the whole chat, including your answers: `90s`, `10m`, or seconds
    #[arg(long, value_name = "TIME", value_parser = values::duration, help_heading = "Chat")]
    pub max_time: Option<Duration>,
    /// New file in which the chat is saved, message by message
    #[arg(long, value_name = "FILE", help_heading = "Chat")]
    pub save: Option<PathBuf>,
    /// Saved chat to continue; new messages are saved in the same file
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["save", "task"],
        help_heading = "Chat"
    )]
    pub resume: Option<PathBuf>,
}

/// When a person is asked to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum HumanWhen {
    /// At each message
    Always,
    /// When the chat would end
    Terminate,
    /// Never
    Never,
}

/// When a person is asked to approve code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ApproveWhen {
    /// Never
    Never,
    /// Each time
    Always,
}
