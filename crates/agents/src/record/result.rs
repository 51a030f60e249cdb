//! The result of a chat, and the reason for its end.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{budget::BudgetExhausted, calls::ToolRecord, cost::Cost};
use crate::{
    error::{Error, causes},
    message::Message,
    model::ModelError,
};

/// The result of a chat. It belongs to the caller: nothing else refers to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChatResult {
    /// The id of the chat.
    #[serde(rename = "chat_id")]
    pub id: String,
    /// All messages, including those from before the chat.
    #[serde(rename = "chat_history")]
    pub history: Vec<Message>,
    /// The summary; empty if nothing was said.
    pub summary: String,
    /// The cost, including nested chats, summaries and speaker selection.
    pub cost: Cost,
    /// Human input. In nested chats it follows the name of the person's agent, as in `coder: yes`.
    pub human_input: Vec<String>,
    /// Tool calls, including those of nested chats and of code: the first 1,000 of each run of
    /// code.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolRecord>,
    /// The reason for the end.
    pub stop: StopReason,
}

/// The reason for the end of a chat.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
#[non_exhaustive]
pub enum StopReason {
    /// The maximum of turns, or in a group of messages, was reached.
    MaxTurns {
        /// The maximum.
        turns: u32,
    },
    /// A message met the termination rule of an agent or of the group.
    Termination {
        /// The agent, or `chat_manager`.
        agent: String,
    },
    /// An agent reached its maximum of automatic replies.
    MaxAutoReplies {
        /// The agent.
        agent: String,
    },
    /// A person ended the chat.
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
    /// A limit of the budget was reached.
    Budget(BudgetExhausted),
    /// An agent said nothing several times in a row.
    EmptyMessages {
        /// The agent.
        agent: String,
        /// The number of empty messages in a row.
        times: u32,
    },
    /// Code or tool calls failed several times in a row with the same output.
    SameFailure {
        /// The number of failures in a row.
        times: u32,
    },
    /// The caller ended the chat.
    Cancelled,
    /// A model, a sandbox or another part of the system failed.
    Failed {
        /// The error.
        message: String,
        /// Its causes, each the cause of the one before.
        causes: Vec<String>,
        /// The received part of a message that broke off.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        partial: Option<String>,
    },
}

impl StopReason {
    /// The name of the reason, as in JSON.
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

    /// True if the chat came to its end; false if a budget, a loop or a failure stopped it.
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

impl From<&Error> for StopReason {
    fn from(error: &Error) -> Self {
        let partial = match error {
            Error::Model { source: ModelError::Interrupted { received, .. }, .. }
                if !received.is_empty() =>
            {
                Some(received.clone())
            }
            _ => None,
        };
        StopReason::Failed { message: error.to_string(), causes: causes(error), partial }
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
            StopReason::Budget(exhausted) => write!(f, "Budget: {exhausted}"),
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
