//! A chat under way: its loop.

use std::{
    future::pending,
    pin::pin,
    sync::{Mutex, PoisonError},
};

use cellblock_exec::Session;
use tokio::time::sleep_until;
use tracing::Instrument as _;

use super::{
    Chat, ChatResult, MANAGER, Opening, StopReason,
    guard::Guard,
    log::{Begun, Log, Saved},
};
use crate::{
    agent::{Agent, Reply, Turn},
    budget::Spent,
    context::Context,
    error::{Error, Result},
    event::Event,
    message::Message,
    model::ModelError,
    tool::ToolRecord,
};

/// A chat under way.
pub(super) struct Running<'c> {
    pub(super) chat: &'c Chat,
    pub(super) context: Context,
    pub(super) history: Vec<Message>,
    /// For each agent of the chat, what is kept of it.
    pub(super) states: Vec<State>,
    pub(super) human_input: Vec<String>,
    pub(super) tool_calls: Vec<ToolRecord>,
    /// Up to where code of the history was run, or can no longer be.
    pub(super) code_done: usize,
    /// What was running when the chat was saved for the last time.
    pub(super) interrupted: Option<Begun>,
    /// Whether text of the message in the making was given out already.
    pub(super) streamed: bool,
    log: Option<Log>,
    guard: Guard,
    random: fastrand::Rng,
    /// The length of the history that does not count for the limit on turns.
    before: usize,
}

/// What is kept of an agent during a chat.
#[derive(Default)]
pub(super) struct State {
    /// How often it answered by itself in a row.
    pub(super) auto_replies: u32,
    /// From where on it sees the history.
    pub(super) sees_from: usize,
    /// The session that it runs code in, once it has. Never locked: a session can only be used by one at a time, and the mutex
    /// tells that to the compiler.
    pub(super) session: Option<Mutex<Box<dyn Session>>>,
    /// Files of an earlier session, for the next one.
    pub(super) files: Vec<cellblock_exec::InputFile>,
}

/// What an agent does when it is its turn.
pub(super) enum Said {
    /// It answers.
    Message(Message),
    /// It ends the chat.
    End(StopReason),
}

impl<'c> Running<'c> {
    pub(super) fn new(chat: &'c Chat, context: Context) -> Result<Self> {
        let log = match &chat.log {
            Some(path) => Some(Log::create(path, chat, &context.chat)?),
            None => None,
        };
        let mut running = Self::empty(chat, context, log);
        running.history.clone_from(&chat.history);
        running.before = running.history.len();
        running.code_done = running.before.saturating_sub(1);
        for message in &chat.history {
            if let Some(log) = &mut running.log {
                log.message(message, &[])?;
            }
        }
        Ok(running)
    }

    /// A chat as it was saved.
    pub(super) fn resume(chat: &'c Chat, context: Context, saved: Saved) -> Result<Self> {
        let log = match &chat.log {
            Some(path) => Some(Log::open(path, saved.length)?),
            None => None,
        };
        let mut running = Self::empty(chat, context, log);
        for (state, auto_replies) in running.states.iter_mut().zip(saved.auto_replies) {
            state.auto_replies = auto_replies;
        }
        let mut files = std::collections::BTreeMap::new();
        for message in &saved.history {
            for artifact in message.artifacts.iter().filter(|artifact| !artifact.content.is_empty()) {
                files.insert(artifact.path.clone(), artifact.content.clone());
            }
            if let Some(speaker) = chat.find(&message.name) {
                running.guard.see(chat, speaker, message);
            }
        }
        let files: Vec<_> =
            files.into_iter().map(|(path, content)| cellblock_exec::InputFile { path, content }).collect();
        for (state, agent) in running.states.iter_mut().zip(&chat.agents) {
            if agent.code.is_some() {
                state.files.clone_from(&files);
            }
        }
        // Everything but the last message was answered, and its code run.
        running.code_done = saved.history.len().saturating_sub(1);
        running.history = saved.history;
        running.human_input = saved.human_input;
        running.tool_calls = saved.tool_calls;
        running.interrupted = saved.interrupted;
        Ok(running)
    }

    fn empty(chat: &'c Chat, context: Context, log: Option<Log>) -> Self {
        let random = match chat.speakers.seed() {
            Some(seed) => fastrand::Rng::with_seed(seed),
            None => fastrand::Rng::new(),
        };
        Self {
            chat,
            context,
            history: Vec::new(),
            states: chat.agents.iter().map(|_| State::default()).collect(),
            human_input: Vec::new(),
            tool_calls: Vec::new(),
            code_done: 0,
            interrupted: None,
            streamed: false,
            log,
            guard: Guard::default(),
            random,
            before: 0,
        }
    }

    /// Runs it to its end.
    pub(super) async fn run(mut self, opening: Opening, parent: Option<String>) -> ChatResult {
        let span = tracing::info_span!(
            "invoke_agent",
            otel.name = format!("invoke_agent {}", self.chat.agents[0].name),
            gen_ai.operation.name = "invoke_agent",
            gen_ai.agent.name = self.chat.agents[0].name,
            gen_ai.conversation.id = &*self.context.chat,
            cellblock.chat.depth = self.context.depth,
            cellblock.chat.stop = tracing::field::Empty,
        );
        self.context.emit(|chat| Event::ChatStarted {
            chat,
            parent,
            agents: self.chat.agents.iter().map(|agent| agent.name.clone()).collect(),
        });
        let stop = match self.turns(opening).instrument(span.clone()).await {
            Ok(reason) => reason,
            Err(error) => failed(&error),
        };
        span.record("cellblock.chat.stop", tracing::field::display(&stop));
        for state in &mut self.states {
            if let Some(session) = state.session.take()
                && let Err(error) = session.into_inner().unwrap_or_else(PoisonError::into_inner).close().await
            {
                let text = format!("a session could not be closed: {}", cellblock_exec::with_causes(&error));
                self.context.emit(|chat| Event::Notice { chat, text });
            }
        }
        let summary = self.summary(&stop).instrument(span).await;
        if let Some(log) = &mut self.log {
            // The chat is over; what cannot be written now changes nothing of its result.
            let _ = log.stopped(&stop);
        }
        self.context.emit(|chat| Event::ChatStopped { chat, depth: self.context.depth, reason: stop.clone() });
        ChatResult {
            id: self.context.chat.to_string(),
            history: self.history,
            summary,
            cost: self.context.cost(),
            human_input: self.human_input,
            tool_calls: self.tool_calls,
            stop,
        }
    }

    async fn turns(&mut self, opening: Opening) -> Result<StopReason> {
        if self.chat.max_turns == Some(0) {
            return Ok(StopReason::MaxTurns { turns: 0 });
        }
        if let Some(content) = opening.content(&self.history, &self.chat.carryover) {
            let message = Message::new(self.chat.agents[0].name.as_str(), content);
            self.send(0, message)?;
        }
        if self.history.is_empty() {
            return Err(Error::Invalid("a chat without a first message needs a history".to_owned()));
        }
        let deadline = self.context.ledger.deadline();
        let cancel = self.context.cancel.clone();
        let mut over = pin!(async move {
            match deadline {
                Some(deadline) => sleep_until(deadline.into()).await,
                None => pending().await,
            }
        });
        loop {
            if let Some(reason) = self.ended() {
                return Ok(reason);
            }
            let said = tokio::select! {
                biased;
                () = cancel.cancelled() => return Ok(StopReason::Cancelled),
                () = &mut over => {
                    let spent = self.context.spent().unwrap_or(Spent::Time { limit: 0.0 });
                    return Ok(StopReason::Budget(spent));
                }
                said = self.turn() => said?,
            };
            match said {
                (speaker, Said::Message(message)) => self.send(speaker, message)?,
                (_, Said::End(reason)) => return Ok(reason),
            }
        }
    }

    /// Why it is over before anybody else speaks.
    fn ended(&self) -> Option<StopReason> {
        if self.context.cancel.is_cancelled() {
            return Some(StopReason::Cancelled);
        }
        if let (Some(most), Some(turns)) = (self.chat.max_messages(), self.chat.max_turns)
            && self.history.len() - self.before >= most
        {
            return Some(StopReason::MaxTurns { turns });
        }
        if let (Some(rule), Some(last)) = (&self.chat.is_termination, self.history.last())
            && rule(last)
        {
            return Some(StopReason::Termination { agent: MANAGER.to_owned() });
        }
        self.guard.verdict(self.chat).or_else(|| self.context.spent().map(StopReason::Budget))
    }

    /// Lets the next one speak.
    async fn turn(&mut self) -> Result<(usize, Said)> {
        let Some(speaker) = self.next_speaker().await? else { return Ok((0, Said::End(StopReason::NoSpeaker))) };
        let said = self.reply(speaker).await?;
        Ok((speaker, said))
    }

    /// What the agent says: the first of its ways that has an answer.
    async fn reply(&mut self, speaker: usize) -> Result<Said> {
        let chat = self.chat;
        let agent = &chat.agents[speaker];
        self.streamed = false;
        let received = self.receive(agent);
        for way in &agent.replies {
            let said = match way {
                Reply::Custom(function) => {
                    let peer = self.peer(speaker);
                    let messages = &self.history[self.states[speaker].sees_from..];
                    let turn = Turn { agent, peer, messages, context: &self.context };
                    function
                        .reply(&turn)
                        .await?
                        .map(|message| Said::Message(Message { name: agent.name.clone(), ..message }))
                }
                Reply::Human => self.person(speaker, received.as_ref()).await?,
                Reply::Nested if agent.nested.is_empty() => None,
                Reply::Nested => self.nested(speaker).await?,
                Reply::Tools => self.call_tools(speaker, received.as_ref()).await?,
                Reply::Code if agent.code.is_none() => None,
                Reply::Code => self.run_code(speaker, received.as_ref()).await?,
                Reply::Model if agent.model.is_none() => None,
                Reply::Model => match self.context.spent() {
                    Some(spent) => Some(Said::End(StopReason::Budget(spent))),
                    None => Some(Said::Message(self.ask_model(speaker, received.as_ref()).await?)),
                },
                Reply::Default => Some(Said::Message(Message::new(agent.name.as_str(), agent.default_reply.as_str()))),
            };
            match said {
                Some(Said::Message(message)) => {
                    let message = agent.hooks.before_send.iter().fold(message, |message, hook| hook(message));
                    return Ok(Said::Message(message));
                }
                Some(end) => return Ok(end),
                None => {}
            }
        }
        Ok(Said::End(StopReason::NoReply { agent: agent.name.clone() }))
    }

    /// The last message as the agent's hooks have it; `None` without hooks.
    fn receive(&self, agent: &Agent) -> Option<Message> {
        let hooks = &agent.hooks.last_received;
        let last = self.history.last().filter(|_| !hooks.is_empty())?;
        Some(hooks.iter().fold(last.clone(), |message, hook| hook(message)))
    }

    async fn nested(&mut self, speaker: usize) -> Result<Option<Said>> {
        let agent = &self.chat.agents[speaker];
        let messages = &self.history[self.states[speaker].sees_from..];
        let answer = crate::nested::answer(agent, messages, &self.context).await?;
        Ok(answer.map(|text| Said::Message(Message::new(agent.name.as_str(), text))))
    }

    /// Puts a message into the history, saves it, and tells who follows.
    fn send(&mut self, speaker: usize, message: Message) -> Result<()> {
        self.guard.see(self.chat, speaker, &message);
        if self.context.events.is_some() {
            let (to, depth, streamed) = (self.peer(speaker).to_owned(), self.context.depth, self.streamed);
            self.context.emit(|chat| Event::Message { chat, depth, to, message: message.clone(), streamed });
        }
        self.streamed = false;
        if let Some(log) = &mut self.log {
            let auto_replies: Vec<_> = self.states.iter().map(|state| state.auto_replies).collect();
            log.spent(&self.context.cost())?;
            log.message(&message, &auto_replies)?;
        }
        self.history.push(message);
        Ok(())
    }

    /// Who hears what the agent says.
    pub(super) fn peer(&self, speaker: usize) -> &'c str {
        if self.chat.is_pair() { &self.chat.agents[1 - speaker].name } else { MANAGER }
    }

    /// Saves that something begins that must not be done twice.
    pub(super) fn begin(&mut self, begun: Begun) -> Result<()> {
        match &mut self.log {
            Some(log) => log.begun(begun),
            None => Ok(()),
        }
    }

    /// Keeps what a person said.
    pub(super) fn heard(&mut self, text: &str) -> Result<()> {
        self.human_input.push(text.to_owned());
        match &mut self.log {
            Some(log) => log.human(text),
            None => Ok(()),
        }
    }

    /// Keeps tool calls.
    pub(super) fn called(&mut self, records: Vec<ToolRecord>) -> Result<()> {
        if let Some(log) = &mut self.log {
            records.iter().try_for_each(|record| log.tool(record))?;
        }
        self.tool_calls.extend(records);
        Ok(())
    }

    pub(super) fn random(&mut self, below: usize) -> usize {
        self.random.usize(..below)
    }
}

/// The end of a chat by an error.
fn failed(error: &Error) -> StopReason {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    let partial = match error {
        Error::Model { source: ModelError::Interrupted { received, .. }, .. } if !received.is_empty() => {
            Some(received.clone())
        }
        _ => None,
    };
    StopReason::Failed { message: error.to_string(), causes: causes.map(ToString::to_string).collect(), partial }
}
