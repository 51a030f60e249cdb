//! What came of a chat.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Chat;
use crate::{budget::Spent, cost::Cost, error::Error, message::Message, tool::ToolRecord};

/// What came of a chat. It belongs to the caller: nothing else refers to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChatResult {
    /// The chat's id.
    #[serde(rename = "chat_id")]
    pub id: String,
    /// All messages, those that came before included.
    #[serde(rename = "chat_history")]
    pub history: Vec<Message>,
    /// Its summary; empty when nothing was said.
    pub summary: String,
    /// What it spent, nested chats, summaries and speaker selection included.
    pub cost: Cost,
    /// What people said; in chats within this one with the name of the agent that they stand behind, as in `coder: yes`.
    pub human_input: Vec<String>,
    /// Tools that were called, in chats within this one and in code too: of each run of code the first 1,000 calls.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolRecord>,
    /// Why it ended.
    pub stop: StopReason,
}

impl ChatResult {
    /// That of a chat that could not begin.
    pub(crate) fn not_begun(chat: &Chat, error: &Error) -> Self {
        Self {
            id: super::new_id().to_string(),
            history: chat.history.clone(),
            summary: String::new(),
            cost: Cost::default(),
            human_input: Vec::new(),
            tool_calls: Vec::new(),
            stop: super::running::failed(error),
        }
    }
}

/// Why a chat ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
#[non_exhaustive]
pub enum StopReason {
    /// It had as many turns, or in a group messages, as it may.
    MaxTurns {
        /// The limit.
        turns: u32,
    },
    /// A message was one that ends it, by the rule of this agent or of the group.
    Termination {
        /// The agent, or `chat_manager`.
        agent: String,
    },
    /// An agent had answered by itself as often as it may.
    MaxAutoReplies {
        /// The agent.
        agent: String,
    },
    /// A person ended it.
    Human {
        /// The agent that the person stands behind.
        agent: String,
    },
    /// An agent had no answer.
    NoReply {
        /// The agent.
        agent: String,
    },
    /// Nobody was to speak next.
    NoSpeaker,
    /// The budget is used up.
    Budget(Spent),
    /// An agent said nothing, again and again.
    EmptyMessages {
        /// The agent.
        agent: String,
        /// How often in a row.
        times: u32,
    },
    /// Code or tool calls failed with the same output, again and again.
    SameFailure {
        /// How often in a row.
        times: u32,
    },
    /// The caller ended it.
    Cancelled,
    /// A model, a sandbox or something else of ours failed.
    Failed {
        /// What.
        message: String,
        /// Why, each the cause of the one before.
        causes: Vec<String>,
        /// What had come of a message that broke off.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        partial: Option<String>,
    },
}

impl StopReason {
    /// Its name, as in JSON.
    pub fn kind(&self) -> &'static str {
        match self {
            StopReason::MaxTurns { .. } => "max_turns",
            StopReason::Termination { .. } => "termination",
            StopReason::MaxAutoReplies { .. } => "max_auto_replies",
            StopReason::Human { .. } => "human",
            StopReason::NoReply { .. } => "no_reply",
            StopReason::NoSpeaker => "no_speaker",
            StopReason::Budget(_) => "budget",
            StopReason::EmptyMessages { .. } => "empty_messages",
            StopReason::SameFailure { .. } => "same_failure",
            StopReason::Cancelled => "cancelled",
            StopReason::Failed { .. } => "failed",
        }
    }

    /// Whether the chat came to its end rather than being stopped by a limit on what it may spend, a loop, or a failure.
    pub fn is_success(&self) -> bool {
        match self {
            StopReason::MaxTurns { .. }
            | StopReason::Termination { .. }
            | StopReason::MaxAutoReplies { .. }
            | StopReason::Human { .. }
            | StopReason::NoReply { .. }
            | StopReason::NoSpeaker => true,
            StopReason::Budget(_)
            | StopReason::EmptyMessages { .. }
            | StopReason::SameFailure { .. }
            | StopReason::Cancelled
            | StopReason::Failed { .. } => false,
        }
    }
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StopReason::MaxTurns { turns } => write!(f, "Maximum turns ({turns}) reached"),
            StopReason::Termination { agent } => {
                write!(f, "Termination message condition on agent '{agent}' met")
            }
            StopReason::MaxAutoReplies { agent } => {
                write!(f, "Maximum number of consecutive auto-replies of '{agent}' reached")
            }
            StopReason::Human { .. } => f.write_str("User requested to end the conversation"),
            StopReason::NoReply { agent } => write!(f, "No reply of '{agent}'"),
            StopReason::NoSpeaker => f.write_str("No next speaker"),
            StopReason::Budget(spent) => write!(f, "Budget: {spent}"),
            StopReason::EmptyMessages { agent, times } => {
                write!(f, "'{agent}' said nothing {times} times in a row")
            }
            StopReason::SameFailure { times } => {
                write!(f, "Code or tools failed in the same way {times} times in a row")
            }
            StopReason::Cancelled => f.write_str("Cancelled"),
            StopReason::Failed { message, causes, .. } => {
                f.write_str(message)?;
                causes.iter().try_for_each(|cause| write!(f, ": {cause}"))
            }
        }
    }
}
