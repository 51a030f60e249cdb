//! Agents: the descriptions of those who take part in a chat, with the nested chats that they hold.

use std::{fmt, sync::Arc};

use async_trait::async_trait;

use crate::{
    chat::summary::Summary,
    code::CodeExecution,
    context::Context,
    error::Result,
    human::{Human, HumanInputMode, Nobody},
    message::{Content, Message},
    model::{ModelClient, Parameters},
    prompts,
    termination::{Predicate, is_terminate},
    tool::Tool,
};

/// A participant of chats. It is a description without state, so it can be cloned and used in
/// several chats at once.
///
/// ```
/// # use std::sync::Arc;
/// # use cellblock_agents::{Agent, HumanInputMode, ModelClient};
/// # fn example(model: Arc<dyn ModelClient>) {
/// let support = Agent {
///     system_message: "You answer questions about orders. Orders take three days.".into(),
///     human_input: HumanInputMode::Never,
///     ..Agent::assistant("support", model)
/// };
/// # }
/// ```
#[derive(Clone)]
pub struct Agent {
    /// The name. It is unique in a chat.
    pub name: String,
    /// The abilities of the agent, for speaker selection and for directors. Default: empty.
    pub description: String,
    /// The system message of its model.
    pub system_message: String,
    /// The model. Default: none.
    pub model: Option<Arc<dyn ModelClient>>,
    /// The parameters of the model's answers.
    pub parameters: Parameters,
    /// The tools that its model can call. The agent that answers its message makes the calls.
    pub tools: Vec<Arc<dyn Tool>>,
    /// The way it runs the code of others. Default: it runs none.
    pub code: Option<CodeExecution>,
    /// The occasions on which the person is asked.
    pub human_input: HumanInputMode,
    /// The person behind the agent. Default: nobody; then nobody is asked, whatever
    /// [`human_input`](Self::human_input) says.
    pub human: Arc<dyn Human>,
    /// The maximum of automatic replies in a row, before the person is asked or the chat ends.
    /// Default: 100.
    pub max_consecutive_auto_replies: u32,
    /// The answer if no other way has one. Default: empty.
    pub default_reply: String,
    /// The rule that ends the chat before the agent answers. Default: the last message is exactly
    /// `TERMINATE`.
    pub is_termination: Predicate,
    /// The ways to an answer. The first one that has an answer gives it.
    pub replies: Vec<Reply>,
    /// Functions that change messages on their way.
    pub hooks: Hooks,
    /// Chats that it holds with other agents to find an answer.
    pub nested: Vec<NestedChats>,
}

/// One way to an answer.
#[derive(Clone)]
pub enum Reply {
    /// A function of the caller.
    Custom(Arc<dyn CustomReply>),
    /// The end of the chat, or a person's words: [`Agent::is_termination`], [`Agent::human_input`]
    /// and [`Agent::max_consecutive_auto_replies`].
    Human,
    /// The answer of [`Agent::nested`] chats.
    Nested,
    /// The results of the tool calls in the message.
    Tools,
    /// The output of the newest code since the agent last spoke.
    Code,
    /// The model's answer.
    Model,
    /// [`Agent::default_reply`].
    Default,
}

impl Reply {
    /// The order of a new agent.
    pub const ORDER: [Reply; 6] =
        [Reply::Human, Reply::Nested, Reply::Tools, Reply::Code, Reply::Model, Reply::Default];

    /// A function of the messages so far; `None` leaves the answer to the next way.
    pub fn custom<F>(function: F) -> Self
    where
        F: Fn(&[Message]) -> Option<Content> + Send + Sync + 'static,
    {
        Reply::Custom(Arc::new(FunctionReply(function)))
    }
}

/// A way to an answer that is not built in.
#[async_trait]
pub trait CustomReply: Send + Sync {
    /// Returns the answer, or `None` to leave it to the next way.
    ///
    /// # Errors
    /// An error ends the chat, with partial results.
    async fn reply(&self, turn: &Turn<'_>) -> Result<Option<Message>>;
}

/// The view of an agent that is to answer.
#[derive(Debug)]
pub struct Turn<'t> {
    /// The agent.
    pub agent: &'t Agent,
    /// The recipient of the answer; in a group `chat_manager`.
    pub peer: &'t str,
    /// The messages so far; the last one is to be answered.
    pub messages: &'t [Message],
    /// The chat.
    pub context: &'t Context,
}

struct FunctionReply<F>(F);

#[async_trait]
impl<F: Fn(&[Message]) -> Option<Content> + Send + Sync> CustomReply for FunctionReply<F> {
    async fn reply(&self, turn: &Turn<'_>) -> Result<Option<Message>> {
        Ok((self.0)(turn.messages).map(|content| Message::new(turn.agent.name.as_str(), content)))
    }
}

/// Functions that change messages on their way. The history has the result of
/// [`before_send`](Self::before_send); the changes of the others are only visible to the agent.
#[derive(Clone, Default)]
pub struct Hooks {
    /// Change the last message before the agent does anything about it.
    pub last_received: Vec<ChangeMessage>,
    /// Change all messages for the model, for example to leave out old ones.
    pub before_reply: Vec<ChangeMessages>,
    /// Change a message of the agent before it is sent.
    pub before_send: Vec<ChangeMessage>,
}

/// Changes a message.
pub type ChangeMessage = Arc<dyn Fn(Message) -> Message + Send + Sync>;

/// Changes messages.
pub type ChangeMessages = Arc<dyn Fn(Vec<Message>) -> Vec<Message> + Send + Sync>;

/// Chats that an agent holds one after the other when a message triggers them. The summary of the
/// last one is its answer.
#[derive(Clone)]
pub struct NestedChats {
    /// The condition for the chats.
    pub trigger: Trigger,
    /// The chats. Each starts with the summaries of those before.
    pub chats: Vec<NestedChat>,
}

/// The condition for nested chats.
#[derive(Clone)]
pub enum Trigger {
    /// Any message.
    Any,
    /// A message of one of these agents.
    From(Vec<String>),
    /// A function of the history.
    When(Predicate),
}

/// One nested chat between the agent, which starts it, and another one.
#[derive(Clone)]
pub struct NestedChat {
    /// The other agent.
    pub with: Agent,
    /// The first message.
    pub message: NestedMessage,
    /// The maximum of turns. Default: 1.
    pub max_turns: Option<u32>,
    /// The kind of its summary. Default: the last message.
    pub summary: Summary,
}

/// The first message of a nested chat.
#[derive(Clone)]
pub enum NestedMessage {
    /// The last message of the outer chat.
    Last,
    /// This content.
    Say(Content),
    /// A function of the messages of the outer chat.
    With(MakeMessage),
}

/// Creates a first message from the messages of the outer chat.
pub type MakeMessage = Arc<dyn Fn(&[Message]) -> Content + Send + Sync>;

impl Agent {
    /// Creates an agent that has only a name: it asks a person when a chat would end, and has no
    /// answer of its own.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            description: String::new(),
            system_message: "You are a helpful assistant.".to_owned(),
            model: None,
            parameters: Parameters::default(),
            tools: Vec::new(),
            code: None,
            human_input: HumanInputMode::Terminate,
            human: Arc::new(Nobody),
            max_consecutive_auto_replies: 100,
            default_reply: String::new(),
            is_termination: Arc::new(is_terminate),
            replies: Reply::ORDER.to_vec(),
            hooks: Hooks::default(),
            nested: Vec::new(),
        }
    }

    /// Creates an agent whose model solves tasks, with code for others to run if that helps. It
    /// asks nobody.
    pub fn assistant(name: impl Into<String>, model: Arc<dyn ModelClient>) -> Self {
        Self {
            description: "An assistant that solves tasks and writes code for others to run."
                .to_owned(),
            system_message: prompts::ASSISTANT.to_owned(),
            model: Some(model),
            human_input: HumanInputMode::Never,
            ..Self::new(name)
        }
    }

    /// Creates an agent that stands for a person: it asks them at each message, and has no model.
    /// With [`code`](Self::code) it runs code; [`human`](Self::human) is the person. An
    /// [`assistant`](Self::assistant) writes `TERMINATE` below its last answer: with
    /// [`is_done`](crate::is_done) as [`is_termination`](Self::is_termination), that ends the chat.
    pub fn user_proxy(name: impl Into<String>) -> Self {
        Self {
            description: "The person whose task it is; can run code and answer questions."
                .to_owned(),
            human_input: HumanInputMode::Always,
            ..Self::new(name)
        }
    }
}

impl NestedChat {
    /// Creates a chat in which the other agent answers the last message once.
    pub fn new(with: Agent) -> Self {
        Self {
            with,
            message: NestedMessage::Last,
            max_turns: Some(1),
            summary: Summary::LastMessage,
        }
    }
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agent")
            .field("name", &self.name)
            .field("model", &self.model)
            .field("code", &self.code)
            .field("human_input", &self.human_input)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for NestedChats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.chats.iter().map(|chat| &chat.with.name)).finish()
    }
}
