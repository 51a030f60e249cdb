//! The answer of nested chats: each is a chat of two within the outer one.

use super::turn::{AgentAnswer, View};
use crate::{
    agent::{Agent, NestedChats, NestedMessage, Trigger},
    chat::Chat,
    error::{Error, Result},
    human::HumanInputMode,
    message::Message,
    record::{PendingWork, StopReason},
};

/// Holds the first nested chats that the last message triggers. Their answer is the summary of the
/// last one.
///
/// # Errors
/// If one of the chats fails. One that reaches a limit has partial results.
pub async fn hold_nested_chats(view: &View<'_>) -> Result<Option<AgentAnswer>> {
    let agent = view.agent();
    let Some(nested) = agent.nested.iter().find(|nested| fires(&nested.trigger, view.history))
    else {
        return Ok(None);
    };
    view.context.journal.record_work_start(PendingWork::Nested(agent.name.clone()))?;
    let summary = summary_of(view, nested).await?;
    Ok(summary.map(|text| AgentAnswer::say(Message::new(agent.name.as_str(), text))))
}

fn fires(trigger: &Trigger, history: &[Message]) -> bool {
    match (trigger, history.last()) {
        (_, None) => false,
        (Trigger::Any, _) => true,
        (Trigger::From(names), Some(last)) => names.contains(&last.name),
        (Trigger::When(predicate), _) => predicate(history),
    }
}

async fn summary_of(view: &View<'_>, nested: &NestedChats) -> Result<Option<String>> {
    let agent = view.agent();
    let Some(last) = view.visible.last() else { return Ok(None) };
    // Within its own chats the agent answers in all other ways.
    let own = Agent { nested: Vec::new(), human_input: HumanInputMode::Never, ..agent.clone() };
    let mut carryover = Vec::new();
    for one in &nested.chats {
        let opening = match &one.message {
            NestedMessage::Last => last.content.clone(),
            NestedMessage::Say(content) => content.clone(),
            NestedMessage::With(function) => function(view.visible),
        };
        let chat = Chat {
            max_turns: one.max_turns,
            summary: one.summary.clone(),
            carryover: carryover.clone(),
            ..Chat::between(own.clone(), one.with.clone())
        };
        let result = chat.run_within(view.context, opening).await?;
        if let StopReason::Failed { message, causes, .. } = result.stop {
            let what =
                format!("the chat of `{}` with `{}` failed: {message}", agent.name, one.with.name);
            return Err(Error::Other { what, source: causes.join(": ").into() });
        }
        carryover.push(result.summary);
    }
    Ok(carryover.pop())
}
