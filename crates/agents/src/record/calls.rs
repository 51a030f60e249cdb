//! Records of tool calls: calls that ended, and calls that running code has started.

use serde::{Deserialize, Serialize};

/// The answer recorded for a call that was running when the chat stopped.
pub const INTERRUPTED_CALL: &str = "Error: the chat was interrupted during this call. \
    It may have had its effect, and was not made again.";

/// A tool call that was made, as [`ChatResult`](crate::ChatResult) records it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolRecord {
    /// The agent that called.
    pub agent: String,
    /// The tool.
    pub name: String,
    /// The arguments, as JSON text.
    pub arguments: String,
    /// The answer or the error; at most
    /// [`MAX_ANSWER_BYTES`](crate::tool::MAX_ANSWER_BYTES).
    pub answer: String,
    /// True if the call failed or was refused.
    pub is_error: bool,
    /// True if running code made the call.
    pub from_code: bool,
}

/// A tool call that running code is about to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingCall {
    /// The agent that runs the code.
    pub agent: String,
    /// The tool.
    pub name: String,
    /// The arguments, as the record of the call will have them.
    pub arguments: String,
}

impl PendingCall {
    /// True if the record is the end of this call.
    pub fn matches(&self, record: &ToolRecord) -> bool {
        (&self.agent, &self.name, &self.arguments)
            == (&record.agent, &record.name, &record.arguments)
    }

    /// The record of this call after an interruption: it may have had its effect.
    pub fn into_interrupted(self) -> ToolRecord {
        let Self { agent, name, arguments } = self;
        let answer = INTERRUPTED_CALL.to_owned();
        ToolRecord { agent, name, arguments, answer, is_error: true, from_code: true }
    }
}
