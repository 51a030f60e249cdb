//! People in the loop: who is asked before an agent answers, and before code or a tool runs.

use std::{
    collections::VecDeque,
    fmt, io,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use cellblock_answer::CodeBlock;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use crate::message::{Message, ToolCall};

/// What a person answers to end a chat.
pub const EXIT: &str = "exit";

/// When a person is asked before an agent answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HumanInputMode {
    /// At each message.
    Always,
    /// When the chat would end: at a termination message, and when the agent has answered by itself as often as it may.
    #[default]
    Terminate,
    /// Never; the chat then ends.
    Never,
}

/// A person. All methods may take as long as a person takes; dropping the future withdraws the question.
#[async_trait]
pub trait Human: fmt::Debug + Send + Sync {
    /// Whether there is anybody at all. Where nobody is, agents behave as with [`HumanInputMode::Never`].
    fn is_there(&self) -> bool {
        true
    }

    /// Asks what to answer. Empty: the agent answers by itself, or the chat ends if the question says so; [`EXIT`] ends
    /// the chat.
    ///
    /// # Errors
    /// When the person cannot be asked; the chat then ends.
    async fn reply(&self, question: &Question) -> io::Result<String>;

    /// Asks whether something may run.
    ///
    /// # Errors
    /// When the person cannot be asked. Code does not run then, and the chat ends; a tool or an installation is refused.
    async fn approve(&self, proposal: &Proposal) -> io::Result<Decision>;

    /// Asks who speaks next; `None` leaves it to the group.
    ///
    /// # Errors
    /// When the person cannot be asked; the chat then ends.
    async fn choose(&self, names: &[String]) -> io::Result<Option<String>> {
        let _ = names;
        Ok(None)
    }
}

/// What a person is asked to answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Question {
    /// The agent that the person stands behind.
    pub agent: String,
    /// Who gets the answer.
    pub peer: String,
    /// The message to answer.
    pub message: Message,
    /// What an empty answer means: the chat ends, or the agent answers by itself.
    pub empty_ends: bool,
}

/// What is to run, if the person agrees.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Proposal {
    /// Blocks of code, all of one message.
    Code {
        /// The agent that would run them.
        agent: String,
        /// The blocks.
        blocks: Vec<CodeBlock>,
    },
    /// Packages to install, where the policy says to ask. [`Decision::Edit`] counts as a refusal here.
    Packages {
        /// The agent that would install them.
        agent: String,
        /// As they are asked for.
        packages: Vec<String>,
    },
    /// A tool. [`Decision::Edit`] counts as a refusal here.
    Tool {
        /// The agent that calls it.
        agent: String,
        /// The call.
        call: ToolCall,
        /// Whether it comes out of running code.
        from_code: bool,
    },
}

/// What is to happen with a proposal.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Decision {
    /// It runs.
    Approve,
    /// These blocks run in place of those proposed.
    Edit {
        /// The blocks.
        blocks: Vec<CodeBlock>,
    },
    /// It does not run, and who proposed it is told why.
    Skip {
        /// Why; may be empty.
        why: String,
    },
    /// It does not run, and this is the answer to who proposed it.
    Correct {
        /// The answer.
        text: String,
    },
}

/// Nobody. Agents behave as with [`HumanInputMode::Never`], and what needs a person's approval does not run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nobody;

#[async_trait]
impl Human for Nobody {
    fn is_there(&self) -> bool {
        false
    }

    async fn reply(&self, _question: &Question) -> io::Result<String> {
        Ok(EXIT.to_owned())
    }

    async fn approve(&self, _proposal: &Proposal) -> io::Result<Decision> {
        Ok(Decision::Skip { why: "it needs a person's approval, and nobody is there".to_owned() })
    }
}

/// Answers written down beforehand, for tests and demonstrations. When there are no more, it answers [`EXIT`], and approves
/// nothing.
#[derive(Debug, Default)]
pub struct ScriptedHuman {
    replies: Mutex<VecDeque<String>>,
    decisions: Mutex<VecDeque<Decision>>,
}

impl ScriptedHuman {
    /// A person who gives these answers, in order.
    pub fn new<T: Into<String>>(replies: impl IntoIterator<Item = T>) -> Self {
        let replies = replies.into_iter().map(Into::into).collect();
        Self { replies: Mutex::new(replies), decisions: Mutex::default() }
    }

    /// The same person with decisions on what may run, in order.
    pub fn deciding(self, decisions: impl IntoIterator<Item = Decision>) -> Self {
        Self { decisions: Mutex::new(decisions.into_iter().collect()), ..self }
    }
}

#[async_trait]
impl Human for ScriptedHuman {
    async fn reply(&self, _question: &Question) -> io::Result<String> {
        let next = self.replies.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        Ok(next.unwrap_or_else(|| EXIT.to_owned()))
    }

    async fn approve(&self, _proposal: &Proposal) -> io::Result<Decision> {
        let next = self.decisions.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        Ok(next.unwrap_or_else(|| Decision::Skip {
            why: "the script has no more decisions".to_owned(),
        }))
    }

    async fn choose(&self, _names: &[String]) -> io::Result<Option<String>> {
        let next = self.replies.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        Ok(next.filter(|name| !name.is_empty()))
    }
}

/// A person at the other end of a channel, such as a web page: see [`ChannelHuman::new`].
#[derive(Debug, Clone)]
pub struct ChannelHuman {
    questions: mpsc::UnboundedSender<Asked>,
}

/// A question on its way, with the place for its answer. Dropping it says that nobody answers.
#[derive(Debug)]
pub enum Asked {
    /// See [`Human::reply`].
    Reply(Question, oneshot::Sender<String>),
    /// See [`Human::approve`].
    Approve(Proposal, oneshot::Sender<Decision>),
    /// See [`Human::choose`].
    Choose(Vec<String>, oneshot::Sender<Option<String>>),
}

impl ChannelHuman {
    /// A person, and the questions that it is asked.
    pub fn new() -> (Arc<Self>, mpsc::UnboundedReceiver<Asked>) {
        let (questions, receiver) = mpsc::unbounded_channel();
        (Arc::new(Self { questions }), receiver)
    }

    async fn ask<T>(&self, asked: impl FnOnce(oneshot::Sender<T>) -> Asked) -> io::Result<T> {
        let gone = |_| {
            io::Error::new(
                io::ErrorKind::BrokenPipe,
                "nobody answers at the other end of the channel",
            )
        };
        let (answer, receiver) = oneshot::channel();
        self.questions.send(asked(answer)).map_err(|_| gone(()))?;
        receiver.await.map_err(|_| gone(()))
    }
}

#[async_trait]
impl Human for ChannelHuman {
    async fn reply(&self, question: &Question) -> io::Result<String> {
        self.ask(|answer| Asked::Reply(question.clone(), answer)).await
    }

    async fn approve(&self, proposal: &Proposal) -> io::Result<Decision> {
        self.ask(|answer| Asked::Approve(proposal.clone(), answer)).await
    }

    async fn choose(&self, names: &[String]) -> io::Result<Option<String>> {
        self.ask(|answer| Asked::Choose(names.to_vec(), answer)).await
    }
}
