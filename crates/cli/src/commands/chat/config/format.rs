//! The format of a file that describes chats. `docs/chat.md` explains its fields.

use std::collections::BTreeMap;

use cellblock_agents::{Budget, HumanInputMode, Parameters, Transitions};
use cellblock_models::choose::{ModelConfig, name_or_table};
use serde::Deserialize;
use toml::Spanned;

/// A name with its place in the file.
pub type Name = Spanned<String>;

/// A whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConfigRoot {
    /// Task, unless the command line has one.
    pub task: Option<String>,
    /// Models, by the names that agents use.
    pub models: BTreeMap<String, ModelEntry>,
    /// All agents, including members of teams.
    pub agents: Vec<Spanned<AgentConfig>>,
    /// The chat. Default: a chat of all agents that are in no team.
    pub chat: Option<Spanned<ChatConfig>>,
    /// Several chats, instead of one.
    pub sequence: Vec<Spanned<StepConfig>>,
}

/// A model: its name, or a table with its options.
#[derive(Debug, Clone, Deserialize)]
pub struct ModelEntry(#[serde(deserialize_with = "name_or_table")] pub ModelConfig);

/// An agent.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentConfig {
    /// Name.
    pub name: Name,
    /// Kind. Default: an assistant.
    #[serde(default)]
    pub kind: AgentKind,
    /// A name in `models`, or a name as for `--model`. Default for an assistant: that of `--model`.
    pub model: Option<Name>,
    /// Abilities, for agents that choose speakers or direct this one.
    pub description: Option<String>,
    /// System message for the model.
    pub system_message: Option<String>,
    /// Parameters of requests to the model.
    #[serde(default)]
    pub parameters: Parameters,
    /// Agents that this one directs.
    #[serde(default)]
    pub team: Vec<Name>,
    /// True if it runs the code of others or, as the member of a team, its own. Default: true for a
    /// user.
    pub code: Option<bool>,
    /// When a person is asked. Default: that of `--human` for a user, else never.
    pub human: Option<HumanInputMode>,
    /// Maximum number of answers in a row without a person. Default: 100.
    pub max_consecutive_auto_replies: Option<u32>,
    /// Answer when it has no other.
    pub default_reply: Option<String>,
}

/// The kind of an agent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentKind {
    /// An agent whose answers come from a model.
    #[default]
    Assistant,
    /// An agent that stands for a person and runs code.
    User,
}

/// A chat.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChatConfig {
    /// Agents; the first one begins. Default: all agents that are in no team, users first.
    pub agents: Option<Vec<Name>>,
    /// Kind. Default: a pair for two agents, else a group.
    pub kind: Option<ChatKind>,
    /// Choice of the next speaker in a group. Default: by a model.
    pub speakers: Option<SpeakersConfig>,
    /// Model that chooses. Default: that of the first agent that has one.
    pub selector: Option<Name>,
    /// Request to that model; `{agents}` becomes names and descriptions.
    pub selector_message: Option<String>,
    /// Allowed or forbidden successions of speakers.
    pub transitions: Transitions,
    /// True if an agent may speak twice in a row. Default: true.
    pub allow_repeat: Option<bool>,
    /// True if agents are introduced to each other. Default: true in a joint chat.
    pub introductions: Option<bool>,
    /// Maximum number of turns. Default: 10.
    pub max_turns: Option<u32>,
    /// Word at the end of a message that ends a group. Default: `TERMINATE`; empty for none.
    pub end_word: Option<String>,
    /// Way to summarize the chat. Default: the last message.
    pub summary: SummaryConfig,
    /// Limits of cost, tokens and time.
    pub budget: Budget,
}

/// The kind of a chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChatKind {
    /// Two agents that answer each other.
    Pair,
    /// Several agents, of which one is chosen to speak next.
    Group,
    /// Equal agents that speak in turn and know of each other.
    Joint,
}

/// The choice of the next speaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpeakersConfig {
    /// A model chooses.
    Auto,
    /// All speak in turn.
    RoundRobin,
    /// Chance decides.
    Random,
    /// The person at the terminal chooses.
    Manual,
}

/// The way to summarize a chat.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SummaryConfig {
    /// The last message.
    #[default]
    LastMessage,
    /// A summary by a model.
    Reflection,
    /// No summary.
    None,
}

/// A chat of a sequence.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StepConfig {
    /// Name, for chats that wait for this one.
    pub name: Option<Name>,
    /// Task. Default: the task of the command line.
    pub task: Option<String>,
    /// The chat.
    pub chat: ChatConfig,
    /// Chats that it waits for. If no chat of the sequence has this field, each waits for all
    /// before.
    pub after: Option<Vec<Name>>,
    /// Chats whose summaries are excluded from its carryover.
    pub without: Vec<Name>,
}
