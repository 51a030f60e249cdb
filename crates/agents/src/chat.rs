//! Chats: the descriptions of who takes part, who speaks when, and what ends the conversation.
//! `run` runs them.

pub mod opening;
pub mod speakers;
pub mod summary;

use std::{fmt, path::PathBuf};

use cellblock_exec::CancellationToken;

use crate::{
    agent::Agent,
    error::{Error, Result},
    event::EventSink,
    message::Message,
    record::Budget,
    termination::Predicate,
    tool,
};
use opening::Opening;
use speakers::{AutoSelection, Speakers, Transitions};
use summary::Summary;

/// The recipient of messages in a group, which also selects its speakers.
pub const MANAGER: &str = "chat_manager";

/// A chat. It is a description without state, and can be run more than once.
///
/// ```
/// # use std::sync::Arc;
/// # use cellblock_agents::{Agent, Chat, ChatResult, ModelClient, Result};
/// # async fn example(model: Arc<dyn ModelClient>) -> Result<ChatResult> {
/// let (user, assistant) = (Agent::user_proxy("user"), Agent::assistant("assistant", model));
/// let chat = Chat { max_turns: Some(1), ..Chat::between(user, assistant) };
/// chat.run("Tell me a joke about stock prices.").await
/// # }
/// ```
#[derive(Clone)]
pub struct Chat {
    /// The agents. The first one starts.
    pub agents: Vec<Agent>,
    /// The selection of the next speaker. Default: the other agent in a chat of two; in a group a
    /// model selects.
    pub speakers: Speakers,
    /// The allowed orders of speakers in a group. Default: any.
    pub transitions: Transitions,
    /// True if an agent of a group may speak twice in a row. Default: true.
    pub allow_repeat: bool,
    /// True if the agents of a group are introduced to each other. Default: false.
    pub introductions: bool,
    /// The maximum of turns: in a chat of two, a turn is one message of each; in a group, one
    /// message. Default: no limit in a chat of two, 10 in a group.
    pub max_turns: Option<u32>,
    /// The rule that ends a group; the first message never does. Default: none. Agents have a rule
    /// of their own.
    pub is_termination: Option<Predicate>,
    /// The kind of the summary. Default: the last message.
    pub summary: Summary,
    /// Results of earlier chats that the first message contains.
    pub carryover: Vec<String>,
    /// Messages of the same agents from before the chat. Files that their code created are
    /// available to new code.
    pub history: Vec<Message>,
    /// The limits on cost, tokens and time.
    pub budget: Budget,
    /// The maximum of empty messages of one agent in a row; `None` for no limit. Default: 3.
    pub max_empty: Option<u32>,
    /// The maximum of failures of code or tool calls in a row with the same output; `None` for no
    /// limit. Default: 3.
    pub max_same_failures: Option<u32>,
    /// Ends the chat with [`StopReason::Cancelled`](crate::StopReason::Cancelled).
    pub cancel: CancellationToken,
    /// The subscriber. Default: none.
    pub events: Option<EventSink>,
    /// The file to which every message is saved, so that [`Chat::resume`] can continue the chat.
    /// The file must not exist. Default: none.
    pub log: Option<PathBuf>,
}

impl Chat {
    /// Creates a chat of two; `initiator` starts.
    pub fn between(initiator: Agent, other: Agent) -> Self {
        Self { max_turns: None, speakers: Speakers::Other, ..Self::group(vec![initiator, other]) }
    }

    /// Creates a group chat; the first agent starts, and a model selects the speakers.
    pub fn group(agents: Vec<Agent>) -> Self {
        Self {
            agents,
            speakers: Speakers::Auto(AutoSelection::default()),
            transitions: Transitions::Any,
            allow_repeat: true,
            introductions: false,
            max_turns: Some(10),
            is_termination: None,
            summary: Summary::LastMessage,
            carryover: Vec::new(),
            history: Vec::new(),
            budget: Budget::default(),
            max_empty: Some(3),
            max_same_failures: Some(3),
            cancel: CancellationToken::new(),
            events: None,
            log: None,
        }
    }

    /// Creates a joint chat of equals, who speak in turn and are introduced to each other; the
    /// first agent starts.
    pub fn joint(agents: Vec<Agent>) -> Self {
        Self { speakers: Speakers::RoundRobin, introductions: true, ..Self::group(agents) }
    }

    /// The place of the agent with a name.
    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        self.agents.iter().position(|agent| agent.name == name)
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.agents.iter().map(|agent| agent.name.clone()).collect()
    }

    /// True for a chat of two, in which no speaker is selected.
    pub(crate) fn is_pair(&self) -> bool {
        matches!(self.speakers, Speakers::Other)
    }

    /// The recipient of the messages of the agent at `speaker`.
    pub(crate) fn peer(&self, speaker: usize) -> &str {
        if self.is_pair() { &self.agents[1 - speaker].name } else { MANAGER }
    }

    /// The maximum of messages.
    pub(crate) fn max_messages(&self) -> Option<usize> {
        let messages = if self.is_pair() { 2 } else { 1 };
        self.max_turns.map(|turns| turns as usize * messages)
    }

    /// Checks the description of a chat that starts.
    pub(crate) fn check(&self, opening: &Opening) -> Result<()> {
        if matches!(opening, Opening::Nothing) && self.history.is_empty() {
            return Err(Error::Invalid(
                "a chat without a first message needs a history to continue".to_owned(),
            ));
        }
        self.check_description()
    }

    /// Checks the description of a chat that starts or is resumed.
    pub(crate) fn check_description(&self) -> Result<()> {
        let invalid = |what: String| Err(Error::Invalid(what));
        if self.agents.len() < 2 {
            return invalid(format!(
                "a chat needs at least two agents, and this one has {}",
                self.agents.len()
            ));
        }
        if self.is_pair() && self.agents.len() > 2 {
            return invalid(
                "more than two agents need a rule for who speaks next; use `Chat::group`"
                    .to_owned(),
            );
        }
        (0..self.agents.len()).try_for_each(|place| self.check_agent(place))?;
        self.check_names(self.history.iter().map(|message| message.name.as_str()))?;
        self.check_names(self.transitions.names())?;
        for (name, max) in
            [("max_empty", self.max_empty), ("max_same_failures", self.max_same_failures)]
        {
            if max == Some(0) {
                return invalid(format!(
                    "`{name}` of 0 would end every chat at once; use 1 or more, or `None` for no \
                     limit"
                ));
            }
        }
        self.budget.check()
    }

    fn check_agent(&self, place: usize) -> Result<()> {
        let invalid = |what: String| Err(Error::Invalid(what));
        let agent = &self.agents[place];
        if agent.name.trim().is_empty() {
            return invalid("an agent has no name".to_owned());
        }
        if agent.name == MANAGER {
            return invalid(format!(
                "`{MANAGER}` is the group's own name; give the agent another one"
            ));
        }
        if self.find(&agent.name) != Some(place) {
            return invalid(format!(
                "two agents are named `{}`; give one of them another name",
                agent.name
            ));
        }
        tool::check_tools(&agent.tools).map_err(Error::Invalid)?;
        let Some(code) = &agent.code else { return Ok(()) };
        code.session
            .limits
            .check()
            .map_err(|error| Error::Invalid(format!("the code of `{}`: {error}", agent.name)))?;
        tool::check_tools(&code.tools).map_err(Error::Invalid)
    }

    /// Checks that all names are those of agents.
    pub(crate) fn check_names<'n>(&self, mut names: impl Iterator<Item = &'n str>) -> Result<()> {
        match names.find(|name| self.find(name).is_none()) {
            None => Ok(()),
            Some(name) => Err(Error::Invalid(format!(
                "no agent of the chat is named `{name}`; there are {}",
                self.names().join(", ")
            ))),
        }
    }
}

impl fmt::Debug for Chat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chat")
            .field("agents", &self.agents)
            .field("speakers", &self.speakers)
            .field("max_turns", &self.max_turns)
            .finish_non_exhaustive()
    }
}
