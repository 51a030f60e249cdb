//! A chat under way: its loop.

use std::{
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
};

use cellblock_exec::Session;
use tokio::task::coop::consume_budget;
use tracing::Instrument as _;

use super::{
    Chat, ChatResult, MANAGER, Opening, StopReason,
    guard::Guard,
    log::{Begun, Log, Saved},
};
use crate::{
    context::Context,
    error::{Error, Result},
    event::Event,
    message::Message,
    model::ModelError,
    tool::{ToolRecord, ToolsForCode},
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
    /// The tools that running code may call: they keep a record of the calls.
    pub(super) code_tools: Option<Arc<ToolsForCode>>,
    /// Whether text of the message in the making was given out already.
    pub(super) streamed: bool,
    pub(super) log: Option<Log>,
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
}

/// What an agent does when it is its turn.
pub(super) enum Said {
    /// It answers.
    Message(Message),
    /// It ends the chat.
    End(StopReason),
}

impl<'c> Running<'c> {
    pub(super) fn new(chat: &'c Chat, context: Context, opened: bool) -> Result<Self> {
        let log = match &chat.log {
            Some(path) => Some(Log::create(path, chat, &context.chat, opened)?),
            None => None,
        };
        let mut running = Self::empty(chat, context, log);
        running.history.clone_from(&chat.history);
        running.before = running.history.len();
        running.code_done = running.before.saturating_sub(1);
        let kept = running.kept();
        for message in &chat.history {
            if let Some(log) = &mut running.log {
                log.message(message, kept.clone())?;
            }
        }
        Ok(running)
    }

    /// A chat as it was saved.
    pub(super) fn resume(chat: &'c Chat, context: Context, log: Log, saved: Saved) -> Self {
        let mut running = Self::empty(chat, context, Some(log));
        // The agents may be in another order now.
        for (place, name) in saved.agents.iter().enumerate() {
            if let Some(agent) = chat.find(name) {
                let state = &mut running.states[agent];
                state.auto_replies = saved.kept.auto_replies.get(place).copied().unwrap_or(0);
                state.sees_from = saved.kept.sees_from.get(place).copied().unwrap_or(0).min(saved.history.len());
            }
        }
        for message in saved.history.iter().skip(saved.before) {
            if let Some(speaker) = chat.find(&message.name) {
                running.guard.see(chat, speaker, message);
            }
        }
        running.code_done = saved.kept.code_done;
        running.before = saved.before;
        running.history = saved.history;
        running.human_input = saved.human_input;
        running.tool_calls = saved.tool_calls;
        running.interrupted = saved.interrupted;
        running
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
            code_tools: None,
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
        span.record("cellblock.chat.stop", stop.kind());
        // Code that was cut off may have called tools.
        if let Some(tools) = self.code_tools.take() {
            let _ = self.called(tools.records().0);
        }
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
            let _ = log.spent(&self.context.cost()).and_then(|()| log.stopped(&stop));
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
        let context = self.context.clone();
        let mut over = pin!(context.time_over());
        loop {
            // Agents that never wait would otherwise keep everybody else on their thread from running.
            consume_budget().await;
            if let Some(reason) = self.ended() {
                return Ok(reason);
            }
            let said = tokio::select! {
                biased;
                () = context.cancel.cancelled() => return Ok(StopReason::Cancelled),
                spent = &mut over => return Ok(StopReason::Budget(spent)),
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
        if let Some(begun) = self.interrupted.take()
            && let Some((speaker, message)) = self.cut_off(&begun)
        {
            return Ok((speaker, Said::Message(message)));
        }
        let Some(speaker) = self.next_speaker().await? else { return Ok((0, Said::End(StopReason::NoSpeaker))) };
        let said = self.reply(speaker).await?;
        Ok((speaker, said))
    }

    /// Puts a message into the history, saves it, and tells who follows.
    fn send(&mut self, speaker: usize, message: Message) -> Result<()> {
        self.guard.see(self.chat, speaker, &message);
        if self.context.events.is_some() {
            let (to, depth, streamed) = (self.peer(speaker).to_owned(), self.context.depth, self.streamed);
            self.context.emit(|chat| Event::Message { chat, depth, to, message: message.clone(), streamed });
        }
        self.streamed = false;
        if self.log.is_some() {
            let kept = self.kept();
            if let Some(log) = &mut self.log {
                log.spent(&self.context.cost())?;
                log.message(&message, kept)?;
            }
        }
        self.history.push(message);
        Ok(())
    }

    /// Who hears what the agent says.
    pub(super) fn peer(&self, speaker: usize) -> &'c str {
        if self.chat.is_pair() { &self.chat.agents[1 - speaker].name } else { MANAGER }
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
