//! The options of `cellblock chat`.

use std::path::PathBuf;

use cellblock_agents::HumanInputMode;
use clap::{Args, ValueEnum};

use crate::{args::SessionArgs, units};

const EXIT_STATUS: &str = "Exit status: 0 the chat came to its end; 1 stopped because it went nowhere; 2 usage; 124 out of time; \
125 a model, a sandbox or cellblock itself failed; 126 the budget is spent; 130 interrupted";

const EXAMPLES: &str = "\
Examples:
  With a key in OPENAI_API_KEY or ANTHROPIC_API_KEY, or with the small model of this machine:
    cellblock chat \"Plot the change of two stock prices in prices.csv\" --workspace data/

  Without code, one answer:
    cellblock chat --no-code \"Tell me a joke about stock prices.\"

  See each piece of code before it runs, and have it done otherwise:
    cellblock chat --approve always \"Plot prices.csv\" --workspace data/

  Several agents, described in a file:
    cellblock chat --config team.toml \"Write a report on prices.csv\"

  Without a model, from a recording:
    cellblock chat --replay chat.jsonl \"Plot prices.csv\"

Exit status:
  0    the chat came to its end: by a word of its agents or yours, or at --max-turns
  1    stopped because it went nowhere: nothing was said, or code failed in the same way, again and again
  2    usage, or a file that is not what it should be
  124  out of time (--max-time)
  125  a model, a sandbox or cellblock itself failed
  126  the budget is spent (--budget, --max-tokens-total), or the executor cannot do what was asked
  130  interrupted by Ctrl-C";

/// Gives a task to an assistant that writes code, runs the code in a sandbox, and tells the assistant what came of it, until
/// the task is done.
///
/// The transcript goes to standard output; notes and the names of files that were made go to standard error. With --config, the
/// agents are those of a file: groups, teams with a director, chats one after the other.
#[derive(Debug, Args)]
#[command(after_help = EXIT_STATUS, after_long_help = EXAMPLES)]
pub struct ChatArgs {
    /// What is to be done; `-` is standard input, which is also read when there is no task and it is no terminal
    #[arg(value_name = "TASK")]
    pub task: Option<String>,
    /// Image that belongs to the task, for models that see: PNG, JPEG, GIF or WebP; may be repeated
    #[arg(long, value_name = "IMAGE", conflicts_with = "resume")]
    pub attach: Vec<PathBuf>,
    /// File that describes models, agents and chats; docs/chat.md tells how
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Let nobody run code
    #[arg(long)]
    pub no_code: bool,
    /// Which model answers.
    #[command(flatten)]
    pub model: ModelArgs,
    /// People in the loop.
    #[command(flatten)]
    pub people: PeopleArgs,
    /// What ends the chat, and where it is kept.
    #[command(flatten)]
    pub bounds: BoundArgs,
    /// Options of the session.
    #[command(flatten)]
    pub session: SessionArgs,
    /// Print one JSON object, the chat's result, on standard output, and nothing else there
    #[arg(long)]
    pub json: bool,
    /// Print what happens as lines of JSON on standard output, while it happens, in place of the transcript
    #[arg(long, conflicts_with = "json")]
    pub events: bool,
}

/// Which model answers, and from where.
#[derive(Debug, Args)]
pub struct ModelArgs {
    /// Model, such as `openai/gpt-4o-mini`, `anthropic/claude-haiku-4-5`, `ollama/llama3.2`, `http://127.0.0.1:8080/v1#name`,
    /// `local` or `local:FILE.gguf`; without it, that of the first provider whose key is in the environment, else `local`
    #[arg(long, value_name = "NAME", help_heading = "Model")]
    pub model: Option<String>,
    /// Answer from a recording, and ask no model
    #[arg(long, value_name = "FILE", conflicts_with_all = ["record", "model"], help_heading = "Model")]
    pub replay: Option<PathBuf>,
    /// Record what models are asked and what they answer; a recording that is there is gone on with
    #[arg(long, value_name = "FILE", help_heading = "Model")]
    pub record: Option<PathBuf>,
    /// Keep answers under this number: with another one, models are asked again [default: 41]
    #[arg(long, value_name = "N", conflicts_with = "no_cache", help_heading = "Model")]
    pub cache_seed: Option<u64>,
    /// Ask models each time, and keep no answer
    #[arg(long, help_heading = "Model")]
    pub no_cache: bool,
}

/// Who is asked, and what about.
#[derive(Debug, Args)]
pub struct PeopleArgs {
    /// When you are asked to answer [default: terminate at a terminal, else never]
    #[arg(long, value_name = "WHEN", value_enum, help_heading = "People")]
    pub human: Option<When>,
    /// When you are asked before code runs
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = Approve::Never, help_heading = "People")]
    pub approve: Approve,
}

/// What ends the chat, and where it is kept.
#[derive(Debug, Args)]
pub struct BoundArgs {
    /// Turns, of one message of each side; in a group, messages [default: 10; without code and without you, 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), help_heading = "Chat")]
    pub max_turns: Option<u32>,
    /// US dollars that the chat may spend; looked at before each call of a model
    #[arg(long, value_name = "USD", value_parser = dollars, help_heading = "Chat")]
    pub budget: Option<f64>,
    /// Tokens that the chat may use, read and written; looked at before each call of a model
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Chat")]
    pub max_tokens_total: Option<u64>,
    /// Time for the whole chat, yours included: `90s`, `10m`, or seconds
    #[arg(long, value_name = "TIME", value_parser = units::duration, help_heading = "Chat")]
    pub max_time: Option<std::time::Duration>,
    /// Save the chat while it goes on, to a file that is not there yet
    #[arg(long, value_name = "FILE", help_heading = "Chat")]
    pub save: Option<PathBuf>,
    /// Go on with a chat that was saved, and save it there
    #[arg(long, value_name = "FILE", conflicts_with_all = ["save", "task"], help_heading = "Chat")]
    pub resume: Option<PathBuf>,
}

/// When a person is asked to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum When {
    /// At each message
    Always,
    /// When the chat would end
    Terminate,
    /// Never
    Never,
}

/// When a person is asked before code runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Approve {
    /// Never
    Never,
    /// Each time
    Always,
}

impl From<When> for HumanInputMode {
    fn from(when: When) -> Self {
        match when {
            When::Always => HumanInputMode::Always,
            When::Terminate => HumanInputMode::Terminate,
            When::Never => HumanInputMode::Never,
        }
    }
}

/// An amount of US dollars, such as `0.5` or `$2`.
fn dollars(text: &str) -> Result<f64, String> {
    let number = text.strip_prefix('$').unwrap_or(text);
    match number.parse::<f64>() {
        Ok(dollars) if dollars.is_finite() && dollars > 0.0 => Ok(dollars),
        _ => Err("write an amount above 0, such as 0.50".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::dollars;

    #[test]
    fn amounts() {
        assert_eq!((dollars("0.5"), dollars("$2")), (Ok(0.5), Ok(2.0)));
        for text in ["", "0", "-1", "nan", "inf", "much", "2 $"] {
            assert!(dollars(text).is_err(), "{text}");
        }
    }
}
