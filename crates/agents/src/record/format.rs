//! The format of a chat on disk: one line of JSON for each event of the record, written when it
//! happens.
//!
//! ```text
//! {"cellblock_chat":1,"id":"…","agents":["user","assistant"],"opened":true}
//! {"message":{"name":"user","content":"…"}}
//! {"spent":{…}}
//! {"message":{"name":"assistant","content":"…"},"auto_replies":[0,1]}
//! {"begun":{"code":"user"}}
//! {"calling":{"agent":"user","name":"pay","arguments":"{…}"}}
//! {"tool":{"agent":"user","name":"pay",…}}
//! {"message":{…},"auto_replies":[1,1],"code_done":2,"files":[{"path":"a.png","content":"…"}]}
//! {"stopped":{"reason":"max_turns","turns":2}}
//! ```
//!
//! - The cost of saving a chat is proportional to its growth.
//! - A `begun` line without a message after it tells a resumed chat what it must not do a second
//!   time. A `calling` line without a `tool` line after it names a call that may have had its
//!   effect.
//! - The costs, calls and human input of nested chats are written to this log too, when they
//!   happen.
//! - A partial last line, left by a process that ended while it wrote, is ignored. Any other
//!   invalid line is an error.
//! - Lines reach the operating system, not the disk: they survive the process, not a power failure.

use serde::{Deserialize, Serialize};

use super::{
    calls::{PendingCall, ToolRecord},
    cost::Cost,
    result::StopReason,
};
use crate::message::Message;

/// The version of the format. A log of another version is refused.
pub const LOG_VERSION: u32 = 1;

/// Work that must not happen twice, with the agent that does it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PendingWork {
    /// Code of the newest message with code.
    Code(String),
    /// Tool calls of the last message.
    Tools(String),
    /// Nested chats about the last message.
    Nested(String),
}

impl PendingWork {
    /// The agent that does the work.
    pub fn agent(&self) -> &str {
        match self {
            PendingWork::Code(agent) | PendingWork::Tools(agent) | PendingWork::Nested(agent) => {
                agent
            }
        }
    }
}

/// The state of a chat that is saved with each message. Lists are in the order of the agents.
#[derive(Debug, Clone, Default)]
pub struct Checkpoint {
    /// The automatic replies of each agent in a row.
    pub auto_replies: Vec<u32>,
    /// The first message that each agent sees.
    pub sees_from: Vec<usize>,
    /// The number of messages whose code has run, or must no longer run.
    pub code_done: usize,
}

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
pub struct HeaderLine {
    pub cellblock_chat: u32,
    pub id: String,
    pub agents: Vec<String>,
    /// The number of messages from before the chat, which follow first.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub before: usize,
    /// True if an opening message follows after those.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub opened: bool,
}

pub fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// A line after the first. A list of a checkpoint that has only zeros is saved as an empty one.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum LogLine {
    Begun(PendingWork),
    Calling(PendingCall),
    Spent(Cost),
    Human(String),
    Tool(ToolRecord),
    Stopped(StopReason),
    #[serde(untagged)]
    Message {
        message: Message,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        auto_replies: Vec<u32>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        sees_from: Vec<usize>,
        #[serde(default, skip_serializing_if = "is_zero")]
        code_done: usize,
        /// Human input since the message before: on this line, so that both are saved or neither.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        human: Vec<String>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        files: Vec<SavedFile>,
    },
}

/// The content of an artifact, as base64.
#[derive(Debug, Serialize, Deserialize)]
pub struct SavedFile {
    pub path: String,
    pub content: String,
}
