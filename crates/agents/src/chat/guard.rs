//! Loops that lead nowhere.

use super::{Chat, StopReason};
use crate::message::Message;

/// What has come again and again.
#[derive(Debug, Default)]
pub(super) struct Guard {
    /// For each agent, how many empty messages in a row.
    empty: Vec<u32>,
    /// The last failure of code, and how often it came in a row.
    failure: Option<(String, u32)>,
}

impl Guard {
    /// Looks at a message of the agent at `speaker`.
    pub(super) fn see(&mut self, chat: &Chat, speaker: usize, message: &Message) {
        self.empty.resize(chat.agents.len(), 0);
        self.empty[speaker] = if message.is_empty() { self.empty[speaker] + 1 } else { 0 };
        if chat.agents[speaker].code.is_none() {
            return;
        }
        let text = message.text();
        if !text.starts_with("exitcode: ") {
            return;
        }
        if text.starts_with("exitcode: 0 ") {
            self.failure = None;
            return;
        }
        let times = match &self.failure {
            Some((last, times)) if *last == text => times + 1,
            _ => 1,
        };
        self.failure = Some((text.into_owned(), times));
    }

    /// Why the chat is to end, if it is.
    pub(super) fn verdict(&self, chat: &Chat) -> Option<StopReason> {
        if let Some(most) = chat.max_empty
            && let Some(speaker) = self.empty.iter().position(|times| *times >= most)
        {
            let agent = chat.agents[speaker].name.clone();
            return Some(StopReason::EmptyMessages { agent, times: self.empty[speaker] });
        }
        match (&self.failure, chat.max_same_failures) {
            (Some((_, times)), Some(most)) if *times >= most => Some(StopReason::SameFailure { times: *times }),
            _ => None,
        }
    }
}
