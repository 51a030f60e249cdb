//! What happens in a chat, while it happens: for a terminal, a server, or a test to follow.

use std::{sync::Arc, time::Duration};

use cellblock_answer::run::BlockReport;
use cellblock_exec::Stream;
use serde::Serialize;
use tokio::sync::mpsc;

use crate::{
    chat::StopReason,
    message::{Message, ToolCall, ToolResult},
    model::Usage,
};

/// Receives events. It is called in the middle of a chat and must not block for long.
pub type EventSink = Arc<dyn Fn(&Event) + Send + Sync>;

/// A sink, and the events that come out of it. Events wait in memory until they are taken.
pub fn channel() -> (EventSink, mpsc::UnboundedReceiver<Event>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    // Who no longer listens is no reason to stop a chat.
    let sink: EventSink = Arc::new(move |event| drop(sender.send(event.clone())));
    (sink, receiver)
}

/// Something that happened. `chat` is the id of the chat that it happened in.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// A chat begins.
    ChatStarted {
        /// Its id.
        chat: String,
        /// The chat that it is nested in.
        parent: Option<String>,
        /// Names of its agents.
        agents: Vec<String>,
    },
    /// A message is sent.
    Message {
        /// The chat.
        chat: String,
        /// How deep the chat is nested, 0 for none.
        depth: usize,
        /// Who is spoken to; in a group `chat_manager`.
        to: String,
        /// The message; its name is who speaks.
        message: Message,
        /// Whether its text was streamed before, as [`Event::Text`].
        streamed: bool,
    },
    /// Text of a message arrives. The whole message follows.
    Text {
        /// The chat.
        chat: String,
        /// How deep the chat is nested, 0 for none.
        depth: usize,
        /// Who speaks.
        from: String,
        /// Who is spoken to.
        to: String,
        /// The piece.
        text: String,
    },
    /// A streamed text is void: the answer broke off, and the next events begin it anew or end the chat.
    TextWithdrawn {
        /// The chat.
        chat: String,
        /// Who spoke.
        from: String,
    },
    /// A model has answered.
    ModelAnswered {
        /// The chat.
        chat: String,
        /// The agent that asked; in a group also `chat_manager`.
        agent: String,
        /// The model.
        model: String,
        /// What it used.
        usage: Usage,
        /// US dollars.
        cost: f64,
        /// Whether it came from the cache.
        cached: bool,
        /// How long it took.
        #[serde(rename = "duration_ms", serialize_with = "as_millis")]
        duration: Duration,
    },
    /// The next speaker of a group is known.
    SpeakerSelected {
        /// The chat.
        chat: String,
        /// The agent.
        speaker: String,
    },
    /// A person's answer is used, or `None` where the agent answers by itself though a person was asked.
    HumanAnswered {
        /// The chat.
        chat: String,
        /// The agent that the person stands behind.
        agent: String,
        /// What the person said.
        text: Option<String>,
    },
    /// A code block starts.
    BlockStarted {
        /// The chat.
        chat: String,
        /// The agent that runs it.
        agent: String,
        /// Its place in the message, from 0.
        index: usize,
        /// Its language, `unknown` without.
        language: String,
        /// Whether the language was inferred from the code.
        inferred: bool,
        /// The code.
        code: String,
    },
    /// A code block writes.
    BlockOutput {
        /// The chat.
        chat: String,
        /// Where to.
        stream: Stream,
        /// What; U+FFFD for what is not UTF-8.
        text: String,
    },
    /// Packages are installed for a block, which then runs (again).
    Installing {
        /// The chat.
        chat: String,
        /// As they are asked for.
        packages: Vec<String>,
    },
    /// Packages were installed; none when that failed or all were there.
    Installed {
        /// The chat.
        chat: String,
        /// As `name==version`.
        packages: Vec<String>,
    },
    /// A code block has ended, or was skipped.
    BlockFinished {
        /// The chat.
        chat: String,
        /// The agent that ran it.
        agent: String,
        /// What became of it, files included.
        report: Box<BlockReport>,
    },
    /// A tool is called.
    ToolStarted {
        /// The chat.
        chat: String,
        /// The agent that calls it.
        agent: String,
        /// The call.
        call: ToolCall,
        /// Whether it comes out of running code.
        from_code: bool,
    },
    /// A tool has answered.
    ToolFinished {
        /// The chat.
        chat: String,
        /// The agent that called it.
        agent: String,
        /// What it gave.
        result: ToolResult,
    },
    /// Something that a person should know and that is in no message, such as an answer cut off at its limit.
    Notice {
        /// The chat.
        chat: String,
        /// The text.
        text: String,
    },
    /// A chat has ended.
    ChatStopped {
        /// The chat.
        chat: String,
        /// How deep it was nested, 0 for none.
        depth: usize,
        /// Why.
        reason: StopReason,
    },
}

fn as_millis<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64() * 1000.0)
}
