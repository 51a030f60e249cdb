//! The types of one turn: the view of the agent that is to answer, its state, and its answer.

use cellblock_exec::Session;

use crate::{
    agent::Agent,
    chat::Chat,
    context::Context,
    message::{Message, ToolResult},
    record::StopReason,
};

/// The view of an agent that is to answer.
#[derive(Clone, Copy)]
pub struct View<'v> {
    pub chat: &'v Chat,
    pub context: &'v Context,
    /// The place of the agent in the chat.
    pub speaker: usize,
    /// All messages so far. The last one is as the agent's hooks have changed it.
    pub history: &'v [Message],
    /// The same messages as they were sent: tool calls to answer and files are those of the chat.
    pub sent: &'v [Message],
    /// The messages that the agent sees: the end of the history.
    pub visible: &'v [Message],
    /// The number of messages whose code has run, or must no longer run.
    pub code_done: usize,
}

impl<'v> View<'v> {
    pub fn agent(&self) -> &'v Agent {
        &self.chat.agents[self.speaker]
    }

    /// The message to answer.
    pub fn last(&self) -> Option<&'v Message> {
        self.history.last()
    }

    /// The recipient of the answer.
    pub fn peer(&self) -> &'v str {
        self.chat.peer(self.speaker)
    }
}

/// The state of an agent during a chat.
#[derive(Default)]
pub struct AgentState {
    /// The number of automatic replies in a row.
    pub auto_replies: u32,
    /// The place of the first message that the agent sees.
    pub sees_from: usize,
    /// The session for code, once there was code to run.
    pub session: Option<Box<dyn Session>>,
}

/// The answer of an agent, with everything that the loop has to apply besides.
pub struct AgentAnswer {
    pub action: Action,
    /// The outcome of the code or the tools that the message reports.
    pub work: Option<WorkOutcome>,
    /// True if text of the message was streamed to the subscriber.
    pub streamed: bool,
    /// True if the code of all messages so far must not run (again).
    pub code_done: bool,
    /// An instruction of a person that agents stop seeing messages.
    pub clear_history: Option<ClearHistory>,
}

/// The action of an agent in its turn.
pub enum Action {
    /// It sends a message.
    Say(Message),
    /// It ends the chat.
    Stop(StopReason),
}

/// The outcome of code or of tools. The one who ran them sets it: the text of the message may have
/// been changed since.
#[derive(Debug)]
pub enum WorkOutcome {
    /// At least a part succeeded.
    Succeeded,
    /// It failed with this output.
    Failed(String),
}

/// The instruction `clear history`: agents only see the last messages.
pub struct ClearHistory {
    /// The place of the agent; `None` for all.
    pub agent: Option<usize>,
    /// The number of messages that stay visible.
    pub keep: usize,
}

impl AgentAnswer {
    /// The answer that sends a message and has no other effect.
    pub fn say(message: Message) -> Self {
        Self::new(Action::Say(message))
    }

    /// The answer that ends the chat.
    pub fn stop(reason: StopReason) -> Self {
        Self::new(Action::Stop(reason))
    }

    fn new(action: Action) -> Self {
        Self { action, work: None, streamed: false, code_done: false, clear_history: None }
    }
}

impl WorkOutcome {
    /// The outcome of tool calls.
    pub fn of_results(results: &[ToolResult]) -> Self {
        if results.iter().any(|result| !result.is_error) {
            return WorkOutcome::Succeeded;
        }
        WorkOutcome::Failed(
            results.iter().map(|result| format!("{}: {}\n", result.name, result.content)).collect(),
        )
    }
}
