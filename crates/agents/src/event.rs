//! Events of a chat, in the order in which they happen: for a terminal, a server or a test that
//! subscribes.

use std::{sync::Arc, time::Duration};

use cellblock_answer::run::BlockReport;
use cellblock_exec::Stream;
use serde::Serialize;
use tokio::sync::mpsc;

use crate::{
    message::{Message, ToolCall, ToolResult},
    model::Usage,
    record::StopReason,
};

/// Receives events. It is called in the middle of a chat and must not block for long.
pub type EventSink = Arc<dyn Fn(&Event) + Send + Sync>;

/// Creates a sink, and the receiver of its events. Events wait in memory until they are received.
pub fn channel() -> (EventSink, mpsc::UnboundedReceiver<Event>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    // A receiver that was dropped must not stop the chat.
    let sink: EventSink = Arc::new(move |event| drop(sender.send(event.clone())));
    (sink, receiver)
}

/// An event. `chat` is the id of the chat in which it happened.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// A chat starts.
    ChatStarted {
        /// The id of the chat.
        chat: String,
        /// The chat that contains it.
        parent: Option<String>,
        /// The names of its agents.
        agents: Vec<String>,
    },
    /// A message was sent, and saved if the chat has a log.
    Message {
        /// The chat.
        chat: String,
        /// The depth of nesting of the chat; 0 for an outermost one.
        depth: usize,
        /// The recipient; in a group `chat_manager`.
        to: String,
        /// The message; its name is the speaker.
        message: Message,
        /// True if its text was streamed before, as [`Event::Text`].
        streamed: bool,
    },
    /// A piece of a message arrived. The whole message follows.
    Text {
        /// The chat.
        chat: String,
        /// The depth of nesting of the chat; 0 for an outermost one.
        depth: usize,
        /// The speaker.
        from: String,
        /// The recipient.
        to: String,
        /// The piece.
        text: String,
    },
    /// A streamed text is void: the message broke off. The next events repeat it or end the chat.
    TextWithdrawn {
        /// The chat.
        chat: String,
        /// The speaker.
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
        /// The tokens.
        usage: Usage,
        /// US dollars.
        cost: f64,
        /// True if the answer came from the cache.
        cached: bool,
        /// The duration of the call.
        #[serde(rename = "duration_ms", serialize_with = "as_millis")]
        duration: Duration,
    },
    /// The next speaker of a group was selected.
    SpeakerSelected {
        /// The chat.
        chat: String,
        /// The agent.
        speaker: String,
    },
    /// A person answered for an agent.
    HumanAnswered {
        /// The chat.
        chat: String,
        /// The agent that the person stands behind.
        agent: String,
        /// The words of the person; `None` if the agent is to answer automatically.
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
        /// Its language; `unknown` without one.
        language: String,
        /// True if the language was inferred from the code.
        inferred: bool,
        /// The code.
        code: String,
    },
    /// A code block writes output.
    BlockOutput {
        /// The chat.
        chat: String,
        /// The stream.
        stream: Stream,
        /// The output, with U+FFFD for invalid UTF-8.
        text: String,
    },
    /// The installation of packages for a block starts; the block runs (again) after it.
    Installing {
        /// The chat.
        chat: String,
        /// The requirements.
        packages: Vec<String>,
    },
    /// The installation of packages has ended.
    Installed {
        /// The chat.
        chat: String,
        /// The new packages as `name==version`; none if it failed or all were present.
        packages: Vec<String>,
    },
    /// A code block has ended, or was skipped.
    BlockFinished {
        /// The chat.
        chat: String,
        /// The agent that ran it.
        agent: String,
        /// The outcome, with files.
        report: Box<BlockReport>,
    },
    /// A tool call starts.
    ToolStarted {
        /// The chat.
        chat: String,
        /// The agent that calls.
        agent: String,
        /// The call.
        call: ToolCall,
        /// True if running code makes the call.
        from_code: bool,
    },
    /// A tool call has ended.
    ToolFinished {
        /// The chat.
        chat: String,
        /// The agent that called.
        agent: String,
        /// The result.
        result: ToolResult,
    },
    /// Information for a person that is in no message, such as that an answer was cut off.
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
        /// The depth of nesting of the chat; 0 for an outermost one.
        depth: usize,
        /// The reason.
        reason: StopReason,
    },
}

impl Event {
    /// The id of the chat in which the event happened.
    pub fn chat(&self) -> &str {
        match self {
            Event::ChatStarted { chat, .. }
            | Event::Message { chat, .. }
            | Event::Text { chat, .. }
            | Event::TextWithdrawn { chat, .. }
            | Event::ModelAnswered { chat, .. }
            | Event::SpeakerSelected { chat, .. }
            | Event::HumanAnswered { chat, .. }
            | Event::BlockStarted { chat, .. }
            | Event::BlockOutput { chat, .. }
            | Event::Installing { chat, .. }
            | Event::Installed { chat, .. }
            | Event::BlockFinished { chat, .. }
            | Event::ToolStarted { chat, .. }
            | Event::ToolFinished { chat, .. }
            | Event::Notice { chat, .. }
            | Event::ChatStopped { chat, .. } => chat,
        }
    }
}

fn as_millis<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64() * 1000.0)
}
