//! People in the loop: they answer for agents, and approve code and tools before these run.

use std::{collections::VecDeque, fmt, io, sync::Arc};

use async_trait::async_trait;
use cellblock_answer::CodeBlock;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use crate::message::{Message, ToolCall};

/// The answer of a person that ends a chat.
pub const EXIT: &str = "exit";

/// The occasions on which a person is asked before an agent answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HumanInputMode {
    /// At each message.
    Always,
    /// When the chat would end: at a termination message, and at the maximum of automatic replies.
    #[default]
    Terminate,
    /// Never: then the chat ends.
    Never,
}

/// A person. All methods may take as long as a person takes; a dropped future withdraws the
/// question.
#[async_trait]
pub trait Human: fmt::Debug + Send + Sync {
    /// False if there is nobody to ask. Agents then behave as with [`HumanInputMode::Never`].
    fn is_present(&self) -> bool {
        true
    }

    /// Asks for an answer. An empty one lets the agent answer automatically, or ends the chat if
    /// the question says so; [`EXIT`] ends the chat.
    ///
    /// # Errors
    /// If the person cannot be asked. The chat then ends.
    async fn reply(&self, question: &Question) -> io::Result<String>;

    /// Asks whether something may run.
    ///
    /// # Errors
    /// If the person cannot be asked. Code then does not run and the chat ends; a tool or an
    /// installation is refused.
    async fn approve(&self, proposal: &Proposal) -> io::Result<Decision>;

    /// Asks for the next speaker; `None` leaves the choice to the group.
    ///
    /// # Errors
    /// If the person cannot be asked. The chat then ends.
    async fn choose(&self, names: &[String]) -> io::Result<Option<String>> {
        let _ = names;
        Ok(None)
    }
}

/// A message that a person is asked to answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Question {
    /// The agent that the person stands behind.
    pub agent: String,
    /// The recipient of the answer.
    pub peer: String,
    /// The message to answer.
    pub message: Message,
    /// True if an empty answer ends the chat; false if it lets the agent answer automatically.
    pub empty_ends: bool,
}

/// Something that runs if the person agrees.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Proposal {
    /// The code blocks of one message.
    Code {
        /// The agent that would run them.
        agent: String,
        /// The blocks.
        blocks: Vec<CodeBlock>,
    },
    /// Packages to install, if the policy says to ask. [`Decision::Edit`] counts as a refusal here.
    Packages {
        /// The agent that would install them.
        agent: String,
        /// The requirements.
        packages: Vec<String>,
    },
    /// A tool call. [`Decision::Edit`] counts as a refusal here.
    Tool {
        /// The agent that calls.
        agent: String,
        /// The call.
        call: ToolCall,
        /// True if running code makes the call.
        from_code: bool,
    },
}

/// A person's decision about a proposal.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Decision {
    /// It runs.
    Approve,
    /// These blocks run instead of the proposed ones.
    Edit {
        /// The blocks.
        blocks: Vec<CodeBlock>,
    },
    /// It does not run, and the one who proposed it gets the reason.
    Skip {
        /// The reason; may be empty.
        why: String,
    },
    /// It does not run, and the one who proposed it gets this answer.
    Correct {
        /// The answer.
        text: String,
    },
}

/// Nobody. Agents behave as with [`HumanInputMode::Never`], and work that needs approval does not
/// run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nobody;

#[async_trait]
impl Human for Nobody {
    fn is_present(&self) -> bool {
        false
    }

    async fn reply(&self, _question: &Question) -> io::Result<String> {
        Ok(EXIT.to_owned())
    }

    async fn approve(&self, _proposal: &Proposal) -> io::Result<Decision> {
        Ok(Decision::Skip {
            why: "it needs a person's approval, and no person is available".to_owned(),
        })
    }
}

/// A person with answers written in advance, for tests and demonstrations. After the last one it
/// answers [`EXIT`] and approves nothing.
#[derive(Debug, Default)]
pub struct ScriptedHuman {
    replies: Mutex<VecDeque<String>>,
    decisions: Mutex<VecDeque<Decision>>,
}

impl ScriptedHuman {
    /// Creates a person with these answers, in order.
    pub fn new<T: Into<String>>(replies: impl IntoIterator<Item = T>) -> Self {
        let replies = replies.into_iter().map(Into::into).collect();
        Self { replies: Mutex::new(replies), decisions: Mutex::default() }
    }

    /// Sets the decisions about proposals, in order.
    pub fn deciding(self, decisions: impl IntoIterator<Item = Decision>) -> Self {
        Self { decisions: Mutex::new(decisions.into_iter().collect()), ..self }
    }
}

#[async_trait]
impl Human for ScriptedHuman {
    async fn reply(&self, _question: &Question) -> io::Result<String> {
        Ok(self.replies.lock().pop_front().unwrap_or_else(|| EXIT.to_owned()))
    }

    async fn approve(&self, _proposal: &Proposal) -> io::Result<Decision> {
        Ok(self.decisions.lock().pop_front().unwrap_or_else(|| Decision::Skip {
            why: "the script has no more decisions".to_owned(),
        }))
    }

    async fn choose(&self, _names: &[String]) -> io::Result<Option<String>> {
        Ok(self.replies.lock().pop_front().filter(|name| !name.is_empty()))
    }
}

/// A person at the other end of a channel, such as a web page.
#[derive(Debug, Clone)]
pub struct ChannelHuman {
    requests: mpsc::UnboundedSender<HumanRequest>,
}

/// A question to a [`ChannelHuman`], with the sender of its answer. Dropping the sender says that
/// nobody answers.
#[derive(Debug)]
pub enum HumanRequest {
    /// See [`Human::reply`].
    Reply(Question, oneshot::Sender<String>),
    /// See [`Human::approve`].
    Approve(Proposal, oneshot::Sender<Decision>),
    /// See [`Human::choose`].
    Choose(Vec<String>, oneshot::Sender<Option<String>>),
}

impl ChannelHuman {
    /// Creates a person, and the receiver of its questions.
    pub fn new() -> (Arc<Self>, mpsc::UnboundedReceiver<HumanRequest>) {
        let (requests, receiver) = mpsc::unbounded_channel();
        (Arc::new(Self { requests }), receiver)
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<T>) -> HumanRequest,
    ) -> io::Result<T> {
        let closed =
            |_| io::Error::new(io::ErrorKind::BrokenPipe, "the other end of the channel is closed");
        let (answer, receiver) = oneshot::channel();
        self.requests.send(request(answer)).map_err(|_| closed(()))?;
        receiver.await.map_err(|_| closed(()))
    }
}

#[async_trait]
impl Human for ChannelHuman {
    async fn reply(&self, question: &Question) -> io::Result<String> {
        self.ask(|answer| HumanRequest::Reply(question.clone(), answer)).await
    }

    async fn approve(&self, proposal: &Proposal) -> io::Result<Decision> {
        self.ask(|answer| HumanRequest::Approve(proposal.clone(), answer)).await
    }

    async fn choose(&self, names: &[String]) -> io::Result<Option<String>> {
        self.ask(|answer| HumanRequest::Choose(names.to_vec(), answer)).await
    }
}
