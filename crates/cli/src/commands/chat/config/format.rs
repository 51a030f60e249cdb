//! What stands in a file that describes chats. `docs/chat.md` explains it field by field.

use std::collections::BTreeMap;

use cellblock_agents::{Budget, HumanInputMode, Parameters, Transitions};
use cellblock_models::choose::{ModelConfig, name_or_table};
use serde::Deserialize;
use toml::Spanned;

/// A name, with its place in the file.
pub type Name = Spanned<String>;

/// A whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What is to be done, if the command line does not say.
    pub task: Option<String>,
    /// Models, by the names that agents give.
    pub models: BTreeMap<String, Model>,
    /// All agents, those of teams included.
    pub agents: Vec<Spanned<AgentConfig>>,
    /// The chat. Default: of all agents that are in no team.
    pub chat: Option<Spanned<ChatConfig>>,
    /// Several chats, in place of one.
    pub sequence: Vec<Spanned<StepConfig>>,
}

/// A model: its name, or how to use it.
#[derive(Debug, Clone, Deserialize)]
pub struct Model(#[serde(deserialize_with = "name_or_table")] pub ModelConfig);

/// An agent.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentConfig {
    /// Its name.
    pub name: Name,
    /// What it is. Default: an assistant.
    #[serde(default)]
    pub kind: AgentKind,
    /// One of `models`, or a name as `--model` takes it. Default: for an assistant, that of `--model`.
    pub model: Option<Name>,
    /// What it can do, for those who choose speakers or direct it.
    pub description: Option<String>,
    /// Who it is to be.
    pub system_message: Option<String>,
    /// How its model is to answer.
    #[serde(default)]
    pub parameters: Parameters,
    /// Agents that it directs.
    #[serde(default)]
    pub team: Vec<Name>,
    /// Whether it runs code: that of others, or as the member of a team its own. Default: for a user, yes.
    pub code: Option<bool>,
    /// When a person is asked. Default: for a user that of `--human`, else never.
    pub human: Option<HumanInputMode>,
    /// How often it answers in a row by itself. Default: 100.
    pub max_consecutive_auto_replies: Option<u32>,
    /// What it says when it has nothing to say.
    pub default_reply: Option<String>,
}

/// What an agent is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentKind {
    /// A model speaks for it.
    #[default]
    Assistant,
    /// It stands for a person, and runs code.
    User,
}

/// A chat.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChatConfig {
    /// Who takes part; the first one begins. Default: all agents that are in no team, users first.
    pub agents: Option<Vec<Name>>,
    /// What it is. Default: between two a pair, else a group.
    pub kind: Option<ChatKind>,
    /// Who speaks next, in a group. Default: a model chooses.
    pub speakers: Option<SpeakersConfig>,
    /// The model that chooses. Default: that of the first agent that has one.
    pub selector: Option<Name>,
    /// What it is told; `{agents}` becomes names and descriptions.
    pub selector_message: Option<String>,
    /// Who may speak after whom.
    pub transitions: Transitions,
    /// Whether somebody may speak twice in a row. Default: yes.
    pub allow_repeat: Option<bool>,
    /// Whether agents are told who the others are. Default: in a joint chat.
    pub introductions: Option<bool>,
    /// When it ends at the latest. Default: 10.
    pub max_turns: Option<u32>,
    /// In a group, the word at the end of a message that ends it. Default: `TERMINATE`; empty for none.
    pub end_word: Option<String>,
    /// How it is summed up. Default: by the last message.
    pub summary: SummaryConfig,
    /// What it may spend.
    pub budget: Budget,
}

/// What a chat is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChatKind {
    /// Two who answer each other.
    Pair,
    /// Several, of whom one speaks next.
    Group,
    /// Equals who speak in turn and know of each other.
    Joint,
}

/// Who speaks next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpeakersConfig {
    /// A model chooses.
    Auto,
    /// All in turn.
    RoundRobin,
    /// By chance.
    Random,
    /// The person at the terminal chooses.
    Manual,
}

/// How a chat is summed up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SummaryConfig {
    /// By its last message.
    #[default]
    LastMessage,
    /// By a model.
    Reflection,
    /// Not at all.
    None,
}

/// A chat of a sequence.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StepConfig {
    /// Its name, for those that wait for it.
    pub name: Option<Name>,
    /// What is to be done. Default: the task of the command line.
    pub task: Option<String>,
    /// The chat.
    pub chat: ChatConfig,
    /// Names of the chats that it waits for. If no chat of the sequence has it, each waits for all before.
    pub after: Option<Vec<Name>>,
    /// Names of chats whose summaries it does not bring along.
    pub without: Vec<Name>,
}
