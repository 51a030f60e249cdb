//! The end of a chat, or a person's words: AutoGen's rules for when a person is asked and what the
//! answer means.

use super::turn::{AgentAnswer, AgentState, ClearHistory, View};
use crate::{
    chat::Chat,
    error::{Error, Result},
    event::Event,
    human::{EXIT, HumanInputMode, Question},
    message::{Content, Message, ToolCall, ToolResult},
    record::StopReason,
};

/// The result of a tool call that a person answered instead.
const INTERRUPTED: &str = "USER INTERRUPTED";

/// Ends the chat if the agent's rules say so, after a question to the person if there is one.
/// Counts the automatic reply that follows otherwise.
pub async fn ask_person(view: &View<'_>, state: &mut AgentState) -> Result<Option<AgentAnswer>> {
    let agent = view.agent();
    let Some(last) = view.last() else { return Ok(None) };
    let is_termination = (agent.is_termination)(view.history);
    let is_at_maximum = state.auto_replies >= agent.max_consecutive_auto_replies;
    let stop = || {
        let agent = agent.name.clone();
        AgentAnswer::stop(match is_termination {
            true => StopReason::Termination { agent },
            false => StopReason::MaxAutoReplies { agent },
        })
    };
    let would_end = is_termination || is_at_maximum;
    let mode = if agent.human.is_present() { agent.human_input } else { HumanInputMode::Never };
    match mode {
        HumanInputMode::Never if would_end => return Ok(Some(stop())),
        HumanInputMode::Terminate if would_end => {}
        HumanInputMode::Always => {}
        HumanInputMode::Never | HumanInputMode::Terminate => {
            state.auto_replies += 1;
            return Ok(None);
        }
    }
    // At its maximum an agent may continue if the person lets it, unless the maximum is 0.
    let empty_ends = is_termination || agent.max_consecutive_auto_replies == 0;
    let question = Question {
        agent: agent.name.clone(),
        peer: view.peer().to_owned(),
        message: last.clone(),
        empty_ends,
    };
    let text = agent
        .human
        .reply(&question)
        .await
        .map_err(|source| Error::Human { agent: agent.name.clone(), source })?;
    if text == EXIT {
        view.context.journal.record_human_input(&agent.name, &text);
        return Ok(Some(AgentAnswer::stop(StopReason::Human { agent: agent.name.clone() })));
    }
    if text.is_empty() && empty_ends {
        return Ok(Some(stop()));
    }
    view.context.emit(|chat| Event::HumanAnswered {
        chat,
        agent: agent.name.clone(),
        text: (!text.is_empty()).then(|| text.clone()),
    });
    if text.is_empty() {
        // The person lets an agent at its maximum continue.
        state.auto_replies = if is_at_maximum { 1 } else { state.auto_replies + 1 };
        return Ok(None);
    }
    view.context.journal.record_human_input(&agent.name, &text);
    state.auto_replies = 0;
    // An instruction to the group is a message like any other.
    let clear_history = clear_history(view.chat, &text);
    let calls = view.sent.last().map(|last| last.tool_calls.as_slice()).unwrap_or_default();
    let message = words_instead_of_calls(&agent.name, text, calls);
    Ok(Some(AgentAnswer { clear_history, ..AgentAnswer::say(message) }))
}

/// The message with a person's words, and a result for each tool call that they replace.
fn words_instead_of_calls(name: &str, text: String, calls: &[ToolCall]) -> Message {
    let interrupted = |call: &ToolCall| ToolResult {
        id: call.id.clone(),
        name: call.name.clone(),
        content: INTERRUPTED.to_owned(),
        is_error: true,
    };
    let tool_results = calls.iter().map(interrupted).collect();
    Message { tool_results, ..Message::new(name, Content::Text(text)) }
}

/// Parses `clear history [agent] [number of messages to keep]` in a group. The history itself stays
/// complete.
fn clear_history(chat: &Chat, text: &str) -> Option<ClearHistory> {
    const INSTRUCTION: &str = "clear history";
    if chat.is_pair() {
        return None;
    }
    let start = text.to_ascii_lowercase().find(INSTRUCTION)?;
    let rest = text.get(start + INSTRUCTION.len()..).unwrap_or_default();
    let mut words = rest.split_whitespace().peekable();
    let agent = words.peek().and_then(|name| chat.find(name));
    if agent.is_some() {
        words.next();
    }
    let keep = words.next().and_then(|number| number.parse().ok()).unwrap_or(0);
    Some(ClearHistory { agent, keep })
}
