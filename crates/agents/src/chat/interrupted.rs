//! What was under way when a saved chat stopped. It is not done again: whoever asked for it is told.

use super::{log::Begun, running::Running};
use crate::{
    message::{Message, ToolCall, ToolResult},
    tool::MOST_RECORDS,
};

/// What a model is told of code that was running when the chat stopped.
const CODE: &str = "exitcode: 1 (execution failed)\nCode output: \nnote: the chat was interrupted while this code ran. It may \
    have had its effect in part, and was not run again. Variables and imports are lost; files of earlier blocks are there.";

/// What is told of a call that was under way when the chat stopped.
pub(super) const CALL: &str = "Error: the chat was interrupted during this call. It may have had its effect, and was not made again.";

/// What is told of nested chats that were under way when the chat stopped.
const NESTED: &str = "The chats that were to find an answer to this were interrupted. They may have had their effect in part, \
    and were not held again.";

impl Running<'_> {
    /// The message in the place of what was under way, and who says it.
    pub(super) fn cut_off(&mut self, begun: &Begun) -> Option<(usize, Message)> {
        let speaker = self.chat.find(begun.agent())?;
        let agent = &self.chat.agents[speaker];
        let mut message = Message::new(agent.name.as_str(), "");
        match begun {
            Begun::Code(_) => {
                self.code_done = self.history.len();
                message.content = format!("{CODE}{}", self.calls_begun()).into();
            }
            Begun::Nested(_) => message.content = format!("{NESTED}{}", self.calls_begun()).into(),
            Begun::Tools(_) => {
                message.tool_results = self.history.last()?.tool_calls.iter().map(cut_off).collect()
            }
        }
        // It was the agent's own answer.
        let state = &mut self.states[speaker];
        state.auto_replies = state.auto_replies.saturating_add(1);
        Some((speaker, agent.hooks.before_send.iter().fold(message, |message, hook| hook(message))))
    }
}

impl Running<'_> {
    /// The calls that the code had begun, each tool once: whoever asked has to know what may have happened.
    fn calls_begun(&self) -> String {
        let mut counts: Vec<(&str, usize)> = Vec::new();
        for call in &self.began {
            match counts.iter_mut().find(|(name, _)| *name == call.name) {
                Some((_, count)) => *count += 1,
                None => counts.push((&call.name, 1)),
            }
        }
        if counts.is_empty() {
            return String::new();
        }
        let told: Vec<_> = counts
            .iter()
            .map(|(name, count)| match count {
                1 => (*name).to_owned(),
                // Of more, not each is written down.
                MOST_RECORDS.. => format!("{name} (at least {count} times)"),
                _ => format!("{name} ({count} times)"),
            })
            .collect();
        format!("\nnote: it had begun to call {}", told.join(", "))
    }
}

fn cut_off(call: &ToolCall) -> ToolResult {
    ToolResult {
        id: call.id.clone(),
        name: call.name.clone(),
        content: CALL.to_owned(),
        is_error: true,
    }
}
