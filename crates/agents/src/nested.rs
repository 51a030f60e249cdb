//! Chats that an agent holds with others to find an answer.

use std::{fmt, sync::Arc};

use crate::{
    agent::{Agent, Predicate},
    chat::{Chat, StopReason, Summary},
    context::Context,
    error::{Error, Result},
    human::HumanInputMode,
    message::{Content, Message},
};

/// Chats that an agent holds, one after the other, when a message triggers them. Its answer is the summary of the last one.
#[derive(Clone)]
pub struct Nested {
    /// Which message triggers them.
    pub trigger: Trigger,
    /// The chats. Each brings along the summaries of those before.
    pub chats: Vec<NestedChat>,
}

/// Which message triggers nested chats.
#[derive(Clone)]
pub enum Trigger {
    /// Each one.
    Any,
    /// One of these agents.
    From(Vec<String>),
    /// One for which a function says so.
    When(Predicate),
}

/// One nested chat: the agent, which begins, and another.
#[derive(Clone)]
pub struct NestedChat {
    /// The other one.
    pub with: Agent,
    /// What the agent says first.
    pub message: NestedMessage,
    /// How many turns it has at most. Default: 1.
    pub max_turns: Option<u32>,
    /// What is given as its summary. Default: the last message.
    pub summary: Summary,
}

/// What an agent says first in a nested chat.
#[derive(Clone)]
pub enum NestedMessage {
    /// The last message of the outer chat.
    Last,
    /// This.
    Say(Content),
    /// What a function makes of the messages of the outer chat.
    With(MakeMessage),
}

/// Makes a first message of the messages of the outer chat.
pub type MakeMessage = Arc<dyn Fn(&[Message]) -> Content + Send + Sync>;

impl NestedChat {
    /// A chat in which the other one answers the last message once.
    pub fn new(with: Agent) -> Self {
        Self {
            with,
            message: NestedMessage::Last,
            max_turns: Some(1),
            summary: Summary::LastMessage,
        }
    }
}

impl fmt::Debug for Nested {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.chats.iter().map(|chat| &chat.with.name)).finish()
    }
}

impl Trigger {
    fn fires(&self, message: &Message) -> bool {
        match self {
            Trigger::Any => true,
            Trigger::From(names) => names.contains(&message.name),
            Trigger::When(predicate) => predicate(message),
        }
    }
}

/// The first nested chats that a message triggers.
pub(crate) fn triggered<'a>(agent: &'a Agent, last: &Message) -> Option<&'a Nested> {
    agent.nested.iter().find(|nested| nested.trigger.fires(last))
}

/// The answer of nested chats about the last of `messages`.
///
/// # Errors
/// When one of the chats fails; one that is stopped by its limits gives what it has.
pub(crate) async fn answer(
    agent: &Agent,
    nested: &Nested,
    messages: &[Message],
    context: &Context,
) -> Result<Option<String>> {
    let Some(last) = messages.last() else { return Ok(None) };
    // Within its own chats the agent answers as it does otherwise, but for these.
    let own = Agent { nested: Vec::new(), human_input: HumanInputMode::Never, ..agent.clone() };
    let mut carryover = Vec::new();
    for one in &nested.chats {
        let opening = match &one.message {
            NestedMessage::Last => last.content.clone(),
            NestedMessage::Say(content) => content.clone(),
            NestedMessage::With(function) => function(messages),
        };
        let chat = Chat {
            max_turns: one.max_turns,
            summary: one.summary.clone(),
            carryover: carryover.clone(),
            ..Chat::between(own.clone(), one.with.clone())
        };
        // A chat may hold others, which may hold others: the future is of a size that is not known.
        let result = Box::pin(chat.run_within(context, opening)).await?;
        if let StopReason::Failed { message, causes, .. } = result.stop {
            let what =
                format!("the chat of {} with {} failed: {message}", agent.name, one.with.name);
            return Err(Error::Other { what, source: causes.join(": ").into() });
        }
        carryover.push(result.summary);
    }
    Ok(carryover.pop())
}
