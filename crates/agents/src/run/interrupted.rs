//! The answer for work that was running when a saved chat stopped. It does not run again; the one
//! who asked for it is told so.

use super::turn::AgentAnswer;
use crate::{
    chat::Chat,
    message::{Message, ToolCall, ToolResult},
    record::{INTERRUPTED_CALL, PendingCall, PendingWork},
    tool::MAX_RECORDED_CALLS,
};

const CODE: &str = "exitcode: 1 (execution failed)\nCode output: \n\
    note: the chat was interrupted while this code ran. It may have had part of its effect, and \
    was not run again. Variables and imports are lost; files of earlier blocks are kept.";

const NESTED: &str = "The chats that were to answer this were interrupted. \
    They may have had part of their effect, and were not run again.";

/// Work that was running when the chat stopped, with the calls that code had started.
pub struct InterruptedWork {
    pub work: PendingWork,
    pub calls: Vec<PendingCall>,
}

/// Returns the speaker and the answer in place of the interrupted work; `None` if the agent or the
/// calls are no longer there.
pub fn interrupted_answer(
    chat: &Chat,
    history: &[Message],
    interrupted: &InterruptedWork,
) -> Option<(usize, AgentAnswer)> {
    let InterruptedWork { work, calls } = interrupted;
    let speaker = chat.find(work.agent())?;
    let mut message = Message::new(work.agent(), "");
    match work {
        PendingWork::Code(_) => message.content = format!("{CODE}{}", note_on_calls(calls)).into(),
        PendingWork::Nested(_) => {
            message.content = format!("{NESTED}{}", note_on_calls(calls)).into();
        }
        PendingWork::Tools(_) => {
            let calls = &history.last()?.tool_calls;
            message.tool_results = calls.iter().map(interrupted_result).collect();
        }
    }
    let code_done = matches!(work, PendingWork::Code(_));
    Some((speaker, AgentAnswer { code_done, ..AgentAnswer::say(message) }))
}

/// A note with the tools that code had started to call, each once, because they may have had their
/// effect.
fn note_on_calls(calls: &[PendingCall]) -> String {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for call in calls {
        match counts.iter_mut().find(|(name, _)| *name == call.name) {
            Some((_, count)) => *count += 1,
            None => counts.push((&call.name, 1)),
        }
    }
    if counts.is_empty() {
        return String::new();
    }
    let counted: Vec<_> = counts
        .iter()
        .map(|(name, count)| match count {
            1 => (*name).to_owned(),
            // Above the maximum, calls are not recorded one by one.
            MAX_RECORDED_CALLS.. => format!("{name} (at least {count} times)"),
            _ => format!("{name} ({count} times)"),
        })
        .collect();
    format!("\nnote: it had begun to call {}", counted.join(", "))
}

fn interrupted_result(call: &ToolCall) -> ToolResult {
    ToolResult {
        id: call.id.clone(),
        name: call.name.clone(),
        content: INTERRUPTED_CALL.to_owned(),
        is_error: true,
    }
}
