//! The end of a chat, or a person's words: AutoGen's rules of when a person is asked and what an answer means.

use super::{
    StopReason,
    running::{Running, Said},
};
use crate::{
    error::{Error, Result},
    event::Event,
    human::{EXIT, HumanInputMode, Question},
    message::{Content, Message, ToolResult},
};

/// What the model is told of a tool call in whose place a person answered.
const INTERRUPTED: &str = "USER INTERRUPTED";

impl Running<'_> {
    pub(super) async fn person(
        &mut self,
        speaker: usize,
        received: Option<&Message>,
    ) -> Result<Option<Said>> {
        let agent = &self.chat.agents[speaker];
        let Some(last) = received.or(self.history.last()) else { return Ok(None) };
        let ends = (agent.is_termination)(last);
        let spent = self.states[speaker].auto_replies >= agent.max_consecutive_auto_replies;
        let reason = || match ends {
            true => StopReason::Termination { agent: agent.name.clone() },
            false => StopReason::MaxAutoReplies { agent: agent.name.clone() },
        };
        let mode = if agent.human.is_there() { agent.human_input } else { HumanInputMode::Never };
        match mode {
            HumanInputMode::Never if ends || spent => return Ok(Some(Said::End(reason()))),
            HumanInputMode::Never => {}
            HumanInputMode::Terminate if !ends && !spent => {}
            HumanInputMode::Always | HumanInputMode::Terminate => {
                // At its limit an agent may still go on by itself if the person lets it; not one that never may.
                let empty_ends = ends || agent.max_consecutive_auto_replies == 0;
                let question = Question {
                    agent: agent.name.clone(),
                    peer: self.peer(speaker).to_owned(),
                    message: last.clone(),
                    empty_ends,
                };
                let asked = agent.human.reply(&question).await;
                let text =
                    asked.map_err(|source| Error::Human { agent: agent.name.clone(), source })?;
                if text == EXIT {
                    self.context.journal.heard(&agent.name, &text);
                    return Ok(Some(Said::End(StopReason::Human { agent: agent.name.clone() })));
                }
                if text.is_empty() && empty_ends {
                    return Ok(Some(Said::End(reason())));
                }
                let said = (!text.is_empty()).then(|| text.clone());
                self.context.emit(|chat| Event::HumanAnswered {
                    chat,
                    agent: agent.name.clone(),
                    text: said,
                });
                if !text.is_empty() {
                    self.context.journal.heard(&agent.name, &text);
                    // An instruction to the group is said like everything else.
                    self.forget(&text);
                    self.states[speaker].auto_replies = 0;
                    return Ok(Some(Said::Message(self.in_place_of_tools(speaker, text))));
                }
                if spent {
                    // The person let it go on.
                    self.states[speaker].auto_replies = 0;
                }
            }
        }
        self.states[speaker].auto_replies += 1;
        Ok(None)
    }

    /// A person's words; tool calls that they come in place of are answered.
    fn in_place_of_tools(&self, speaker: usize, text: String) -> Message {
        let name = self.chat.agents[speaker].name.clone();
        let calls = self.history.last().map(|last| last.tool_calls.as_slice()).unwrap_or_default();
        let interrupted = |call: &crate::message::ToolCall| ToolResult {
            id: call.id.clone(),
            name: call.name.clone(),
            content: INTERRUPTED.to_owned(),
            is_error: true,
        };
        let tool_results = calls.iter().map(interrupted).collect();
        Message { name, content: Content::Text(text), tool_results, ..Message::default() }
    }

    /// Carries out `clear history [agent] [number of messages to keep]`, in a group: what an agent no longer sees stays in
    /// the history.
    fn forget(&mut self, text: &str) {
        if self.chat.is_pair() {
            return;
        }
        let Some(at) = text.to_ascii_lowercase().find("clear history") else { return };
        let mut words = text
            .get(at + "clear history".len()..)
            .unwrap_or_default()
            .split_whitespace()
            .peekable();
        let only = words.peek().and_then(|name| self.chat.find(name));
        if only.is_some() {
            words.next();
        }
        let keep = words.next().and_then(|number| number.parse::<usize>().ok()).unwrap_or(0);
        let from = self.history.len().saturating_sub(keep);
        for (place, state) in self.states.iter_mut().enumerate() {
            if only.is_none_or(|only| only == place) {
                state.sees_from = state.sees_from.max(from);
            }
        }
    }
}
