//! Chats: agents that answer each other until something ends it.
//!
//! One loop serves all: a chat of two is a group of two in which the other one always speaks next.

mod code;
mod guard;
mod interrupted;
mod journal;
mod keeping;
mod log;
mod model;
mod opening;
#[cfg(any(test, feature = "oracles"))]
pub mod oracles;
mod person;
mod reply;
mod result;
mod running;
mod saved;
mod select;
mod speakers;
mod summary;
mod tools;
mod view;

use std::{fmt, path::PathBuf, pin::pin, sync::Arc};

use cellblock_exec::CancellationToken;

pub(crate) use journal::Journal;
pub use log::VERSION as LOG_VERSION;
pub(crate) use log::{Calling, can_be_made};
pub use opening::{MakeOpening, Opening};
pub use result::{ChatResult, StopReason};
pub use speakers::{AutoSelection, Choose, Speakers, Transitions};
pub use summary::{MakeSummary, Summary};

use crate::{
    agent::{Agent, Predicate},
    budget::Budget,
    context::Context,
    error::{Error, Result},
    event::EventSink,
    message::Message,
};
use running::Running;

/// Who a message in a group is addressed to, and who chooses its speakers.
pub const MANAGER: &str = "chat_manager";

/// A chat: who takes part, who speaks when, and what ends it. It is a description, and can be run more than once.
///
/// ```
/// # use std::sync::Arc;
/// # use cellblock_agents::{Agent, Chat, ChatResult, ModelClient, Result};
/// # async fn example(model: Arc<dyn ModelClient>) -> Result<ChatResult> {
/// let chat = Chat { max_turns: Some(1), ..Chat::between(Agent::user_proxy("user"), Agent::assistant("assistant", model)) };
/// chat.run("Tell me a joke about stock prices.").await
/// # }
/// ```
#[derive(Clone)]
pub struct Chat {
    /// Who takes part. The first one begins.
    pub agents: Vec<Agent>,
    /// Who speaks next. Default: between two the other one; in a group the model chooses.
    pub speakers: Speakers,
    /// Who may speak after whom, in a group. Default: anybody.
    pub transitions: Transitions,
    /// Whether somebody may speak twice in a row, in a group. Default: yes.
    pub allow_repeat: bool,
    /// Whether the agents of a group are told who the others are. Default: no.
    pub introductions: bool,
    /// When it ends at the latest: between two, turns of one message each; in a group, messages. Default: no limit between
    /// two, 10 in a group.
    pub max_turns: Option<u32>,
    /// Which message ends a group; the first one never does. Default: none. Agents have such a rule of their own.
    pub is_termination: Option<Predicate>,
    /// What is given as its summary. Default: the last message.
    pub summary: Summary,
    /// Results of earlier chats that the first message brings along.
    pub carryover: Vec<String>,
    /// Messages that came before, of the same agents. Files that code of theirs made are there for the code to come.
    pub history: Vec<Message>,
    /// What it may spend.
    pub budget: Budget,
    /// After how many empty messages in a row of one agent it ends; `None` for never. Default: 3.
    pub max_empty: Option<u32>,
    /// After how many failures in a row of code or of tool calls, all with the same output, it ends; `None` for never.
    /// Default: 3.
    pub max_same_failures: Option<u32>,
    /// Ends it: [`StopReason::Cancelled`].
    pub cancel: CancellationToken,
    /// Who follows. Default: nobody.
    pub events: Option<EventSink>,
    /// The file that it is saved to after every message, so that [`Chat::resume`] can go on from there. The file must not
    /// exist. Default: none.
    pub log: Option<PathBuf>,
}

impl Chat {
    /// A chat of two; `initiator` begins.
    pub fn between(initiator: Agent, other: Agent) -> Self {
        Self { max_turns: None, speakers: Speakers::Other, ..Self::group(vec![initiator, other]) }
    }

    /// A group chat; the first agent begins, and a model chooses who speaks next.
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

    /// A joint chat of equals, who speak in turn and know of each other; the first agent begins.
    pub fn joint(agents: Vec<Agent>) -> Self {
        Self { speakers: Speakers::RoundRobin, introductions: true, ..Self::group(agents) }
    }

    /// Runs it, from the first agent's message.
    ///
    /// What goes wrong on the way ends it and is the result's [`StopReason`]; the history is always kept.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the description makes no sense; [`Error::Log`] when the file cannot be made. Nothing has been
    /// said then.
    pub async fn run(&self, opening: impl Into<Opening>) -> Result<ChatResult> {
        let opening = opening.into();
        self.check(&opening)?;
        let (cancel, events) = (self.cancel.clone(), self.events.clone());
        let context =
            Context::new(new_id(), cancel, events, self.budget.clone(), Default::default());
        self.start(context, None, opening).await
    }

    /// Runs it within another one: what it spends counts there too, who follows that one follows this one too, and it ends with
    /// it.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn run_within(
        &self,
        outer: &Context,
        opening: impl Into<Opening>,
    ) -> Result<ChatResult> {
        let opening = opening.into();
        self.check(&opening)?;
        let context = outer.within(new_id(), self.budget.clone(), self.events.clone());
        self.start_below(context, Some(outer.chat.to_string()), opening).await
    }

    /// Runs it as one of several chats that share what `whole` allows, and are not within one another.
    pub(crate) async fn run_as_part(
        &self,
        whole: &Context,
        opening: Opening,
    ) -> Result<ChatResult> {
        self.check(&opening)?;
        let context = whole.part(new_id(), self.budget.clone(), self.events.clone());
        self.start_below(context, None, opening).await
    }

    /// Runs it in a context whose end comes from above, and ends it too when its own end comes.
    async fn start_below(
        &self,
        context: Context,
        parent: Option<String>,
        opening: Opening,
    ) -> Result<ChatResult> {
        let cancel = context.cancel.clone();
        let mut running = pin!(self.start(context, parent, opening));
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => {}
            result = &mut running => return result,
        }
        cancel.cancel();
        running.await
    }

    /// Goes on with a chat that was saved to [`log`](Self::log), at the point where it stopped. What was said is not said
    /// again; code, tools and nested chats that were running when it stopped are not run again, and whoever asked for them is
    /// told. Variables of the code are gone; its files are there. An answer that a model or a [custom
    /// way](crate::Reply::Custom) was making is made anew. The time of the [budget](Self::budget) begins anew, too; money and
    /// tokens do not.
    ///
    /// # Errors
    /// [`Error::Log`] when the file cannot be read, is of another version, or holds no message yet; [`Error::Invalid`] when it
    /// is of other agents.
    pub async fn resume(&self) -> Result<ChatResult> {
        self.check_agents()?;
        let path = self.log.as_ref().ok_or_else(|| {
            Error::Invalid("a chat is resumed from its `log`, and this one has none".to_owned())
        })?;
        let (log, saved) = log::Log::open(path)?;
        for name in saved.history.iter().map(|message| &message.name).chain(&saved.agents) {
            self.find(name).ok_or_else(|| self.unknown(name))?;
        }
        let (id, cost) = (saved.id.as_str().into(), saved.cost.clone());
        let context =
            Context::new(id, self.cancel.clone(), self.events.clone(), self.budget.clone(), cost);
        Ok(Running::resume(self, context, log, saved).run(Opening::Nothing, None).await)
    }

    async fn start(
        &self,
        context: Context,
        parent: Option<String>,
        opening: Opening,
    ) -> Result<ChatResult> {
        let opened = !matches!(opening, Opening::Nothing);
        Ok(Running::new(self, context, opened)?.run(opening, parent).await)
    }

    /// The agent of a name, by its place.
    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        self.agents.iter().position(|agent| agent.name == name)
    }

    fn unknown(&self, name: &str) -> Error {
        Error::Invalid(format!(
            "no agent of the chat is named `{name}`; there are {}",
            self.names()
        ))
    }

    pub(crate) fn names(&self) -> String {
        self.agents.iter().map(|agent| agent.name.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// Whether it is a chat of two, in which nobody is chosen.
    pub(crate) fn is_pair(&self) -> bool {
        matches!(self.speakers, Speakers::Other)
    }

    /// The number of messages at which it ends.
    pub(crate) fn max_messages(&self) -> Option<usize> {
        let messages = if self.is_pair() { 2 } else { 1 };
        self.max_turns.map(|turns| turns as usize * messages)
    }

    /// What makes no sense in the description of a chat that begins.
    pub(crate) fn check(&self, opening: &Opening) -> Result<()> {
        if matches!(opening, Opening::Nothing) && self.history.is_empty() {
            return Err(Error::Invalid(
                "a chat without a first message needs a history to go on from".to_owned(),
            ));
        }
        self.check_agents()
    }

    fn check_agents(&self) -> Result<()> {
        let invalid = |what: String| Err(Error::Invalid(what));
        if self.agents.len() < 2 {
            return invalid(format!(
                "a chat needs two agents at least, and this one has {}",
                self.agents.len()
            ));
        }
        if self.is_pair() && self.agents.len() > 2 {
            return invalid(
                "more than two agents need a rule for who speaks next; use `Chat::group`"
                    .to_owned(),
            );
        }
        for (place, agent) in self.agents.iter().enumerate() {
            if agent.name.trim().is_empty() {
                return invalid("an agent has no name".to_owned());
            }
            if agent.name == MANAGER {
                return invalid(format!(
                    "`{MANAGER}` is the group's own name; give the agent another"
                ));
            }
            if self.find(&agent.name) != Some(place) {
                return invalid(format!(
                    "two agents are named `{}`; give one of them another name",
                    agent.name
                ));
            }
            if let Some(code) = &agent.code {
                let limits = code.session.limits.check();
                limits.map_err(|error| {
                    Error::Invalid(format!("the code of `{}`: {error}", agent.name))
                })?;
            }
            for tools in [Some(&agent.tools), agent.code.as_ref().map(|code| &code.tools)]
                .into_iter()
                .flatten()
            {
                crate::tool::check(tools).map_err(Error::Invalid)?;
            }
        }
        for message in &self.history {
            self.find(&message.name).ok_or_else(|| self.unknown(&message.name))?;
        }
        if let Some(name) = self.transitions.names().find(|name| self.find(name).is_none()) {
            return Err(self.unknown(name));
        }
        for (name, most) in
            [("max_empty", self.max_empty), ("max_same_failures", self.max_same_failures)]
        {
            if most == Some(0) {
                return invalid(format!(
                    "`{name}` of 0 would end every chat at once; use 1 or more, or `None` for never"
                ));
            }
        }
        self.budget.check()
    }
}

fn new_id() -> Arc<str> {
    uuid::Uuid::new_v4().to_string().into()
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
