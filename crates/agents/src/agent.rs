//! Agents: who takes part in a chat.

use std::{fmt, sync::Arc};

use async_trait::async_trait;

use crate::{
    code::CodeExecution,
    context::Context,
    error::Result,
    human::{Human, HumanInputMode, Nobody},
    message::{Content, Message},
    model::{ModelClient, Parameters},
    nested::Nested,
    prompts,
    tool::Tool,
};

/// Somebody who takes part in chats. It is a description and keeps nothing between chats, so it can be cloned and used in
/// several at once.
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
    /// Its name, which no other agent of a chat may have.
    pub name: String,
    /// What it can do, for those who choose speakers or direct others. Default: empty.
    pub description: String,
    /// Who it is to be, for its model.
    pub system_message: String,
    /// The model that speaks for it. Default: none.
    pub model: Option<Arc<dyn ModelClient>>,
    /// How the model is to answer.
    pub parameters: Parameters,
    /// Tools that its model is offered. Whoever answers its message has them called.
    pub tools: Vec<Arc<dyn Tool>>,
    /// How it runs the code of others. Default: not at all.
    pub code: Option<CodeExecution>,
    /// When a person is asked.
    pub human_input: HumanInputMode,
    /// The person behind it. Default: nobody; then nobody is asked, whatever [`human_input`](Self::human_input) says.
    pub human: Arc<dyn Human>,
    /// How often it answers in a row without a person, before one is asked or the chat ends. Default: 100.
    pub max_consecutive_auto_replies: u32,
    /// What it says when nothing else gives an answer. Default: empty.
    pub default_reply: String,
    /// Which message to it ends the chat. Default: one that is exactly `TERMINATE`.
    pub is_termination: Predicate,
    /// What gives its answer: the first that has one.
    pub replies: Vec<Reply>,
    /// What changes messages on their way.
    pub hooks: Hooks,
    /// Chats that it holds with others to find an answer.
    pub nested: Vec<Nested>,
}

/// Tells something about a message.
pub type Predicate = Arc<dyn Fn(&Message) -> bool + Send + Sync>;

/// One way to an answer.
#[derive(Clone)]
pub enum Reply {
    /// A function of yours.
    Custom(Arc<dyn CustomReply>),
    /// The end of the chat, or a person's words: [`Agent::is_termination`], [`Agent::human_input`] and
    /// [`Agent::max_consecutive_auto_replies`].
    Human,
    /// The answer of [`Agent::nested`] chats.
    Nested,
    /// The results of the tool calls in the message.
    Tools,
    /// The output of the code in the newest messages since the agent last spoke.
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

    /// An answer by a function of the messages so far; `None` leaves it to the next way.
    pub fn custom<F>(function: F) -> Self
    where
        F: Fn(&[Message]) -> Option<Content> + Send + Sync + 'static,
    {
        Reply::Custom(Arc::new(ByFunction(function)))
    }
}

/// A way to an answer that is not built in.
#[async_trait]
pub trait CustomReply: Send + Sync {
    /// The answer, or `None` to leave it to the next way.
    ///
    /// # Errors
    /// They end the chat, with what was reached.
    async fn reply(&self, turn: &Turn<'_>) -> Result<Option<Message>>;
}

/// What an agent that is to answer sees.
#[derive(Debug)]
pub struct Turn<'t> {
    /// The agent.
    pub agent: &'t Agent,
    /// Who gets the answer; in a group `chat_manager`.
    pub peer: &'t str,
    /// The messages so far; the last one is to be answered.
    pub messages: &'t [Message],
    /// The chat.
    pub context: &'t Context,
}

struct ByFunction<F>(F);

#[async_trait]
impl<F: Fn(&[Message]) -> Option<Content> + Send + Sync> CustomReply for ByFunction<F> {
    async fn reply(&self, turn: &Turn<'_>) -> Result<Option<Message>> {
        Ok((self.0)(turn.messages).map(|content| Message::new(turn.agent.name.as_str(), content)))
    }
}

/// Functions that change messages on their way. The history keeps what [`before_send`](Self::before_send) gives; what the
/// others change is only seen by the agent.
#[derive(Clone, Default)]
pub struct Hooks {
    /// Changes the last message, before anything is done about it.
    pub last_received: Vec<ChangeMessage>,
    /// Changes all messages that a model gets, such as to leave old ones out.
    pub before_reply: Vec<ChangeMessages>,
    /// Changes a message of the agent before it is sent.
    pub before_send: Vec<ChangeMessage>,
}

/// Changes a message.
pub type ChangeMessage = Arc<dyn Fn(Message) -> Message + Send + Sync>;

/// Changes messages.
pub type ChangeMessages = Arc<dyn Fn(Vec<Message>) -> Vec<Message> + Send + Sync>;

impl Agent {
    /// An agent that has nothing but a name: it asks a person when a chat would end, and says nothing by itself.
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

    /// An agent whose model solves tasks, by code where that helps, which somebody else runs. It asks nobody.
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

    /// An agent that stands for a person: it asks them at each message, and has no model. Give it
    /// [`code`](Self::code) to let it run code, and a [`human`](Self::human) to ask. A chat with an
    /// [`assistant`](Self::assistant), which writes `TERMINATE` below its last answer, ends by itself with
    /// [`is_done`](crate::is_done) as its [`is_termination`](Self::is_termination).
    pub fn user_proxy(name: impl Into<String>) -> Self {
        Self {
            description: "The person whose task it is; can run code and answer questions."
                .to_owned(),
            human_input: HumanInputMode::Always,
            ..Self::new(name)
        }
    }
}

/// Whether a message is exactly `TERMINATE`.
fn is_terminate(message: &Message) -> bool {
    message.text() == "TERMINATE"
}

/// Whether the text of a message ends with `TERMINATE`, whatever is around the word: the way the assistant's own system
/// message has it.
pub fn ends_with_terminate(message: &Message) -> bool {
    ends_with_word(message, "TERMINATE")
}

/// Whether the text of a message ends with a word, whatever white space and punctuation follows it. No message ends with an
/// empty one.
pub fn ends_with_word(message: &Message, word: &str) -> bool {
    let text = message.text();
    let (text, word) = (text.trim_end(), word.trim());
    let words = text.trim_end_matches(|c: char| c.is_whitespace() || c.is_ascii_punctuation());
    // A word that has punctuation at its own end is there as it is.
    !word.is_empty() && (words.ends_with(word) || text.ends_with(word))
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
