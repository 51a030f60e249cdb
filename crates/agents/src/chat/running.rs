//! A chat under way: its loop.

use std::{
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
};

use cellblock_exec::Session;
use tokio::task::coop::consume_budget;
use tracing::Instrument as _;

use super::{
    Chat, ChatResult, Journal, MANAGER, Opening, StopReason,
    guard::{Came, Guard},
    log::{Begun, Calling, Log},
    saved::Saved,
};
use crate::{
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
    /// Up to where code of the history was run, or can no longer be.
    pub(super) code_done: usize,
    /// What was running when the chat was saved for the last time.
    pub(super) interrupted: Option<Begun>,
    /// Calls that the code that was running then had begun.
    pub(super) began: Vec<Calling>,
    /// What came of the code or the tools that the message in the making tells of.
    pub(super) came: Came,
    /// Whether text of the message in the making was given out already.
    pub(super) streamed: bool,
    guard: Guard,
    random: fastrand::Rng,
    /// The length of the history that does not count for the limit on turns.
    before: usize,
    /// Whether the message after those is the first one, with which the chat was begun.
    opened: bool,
    _closes: ClosesLog,
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

/// Closes the log with the chat, also when its future is dropped: a tool or a sandbox may hold its context a while longer, and
/// the chat could not be resumed meanwhile.
struct ClosesLog(Arc<Journal>);

impl Drop for ClosesLog {
    fn drop(&mut self) {
        self.0.drop_log();
    }
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
        if let Some(path) = &chat.log {
            context.journal.keep(Log::create(path, chat, &context.chat, opened)?);
        }
        let mut running = Self::empty(chat, context);
        running.opened = opened;
        running.history.clone_from(&chat.history);
        running.before = running.history.len();
        running.code_done = running.before.saturating_sub(1);
        for message in &chat.history {
            running.context.journal.message(message, || running.kept())?;
        }
        Ok(running)
    }

    /// A chat as it was saved.
    pub(super) fn resume(chat: &'c Chat, context: Context, log: Log, saved: Saved) -> Self {
        context.journal.keep(log);
        context.journal.go_on(saved.human_input, saved.tool_calls);
        // What cannot be written now cannot be written at the next message either, which then ends the chat.
        let _ = context.journal.called(saved.open.into_iter().map(unfinished).collect());
        let mut running = Self::empty(chat, context);
        // The agents may be in another order now.
        for (place, name) in saved.agents.iter().enumerate() {
            if let Some(agent) = chat.find(name) {
                let state = &mut running.states[agent];
                state.auto_replies = saved.kept.auto_replies.get(place).copied().unwrap_or(0);
                state.sees_from =
                    saved.kept.sees_from.get(place).copied().unwrap_or(0).min(saved.history.len());
            }
        }
        // The guard begins anew: who goes on with a chat that went nowhere wants to see it try.
        running.code_done = saved.kept.code_done;
        running.before = saved.before;
        running.opened = saved.opened;
        running.history = saved.history;
        running.interrupted = saved.interrupted;
        running.began = saved.began;
        running
    }

    fn empty(chat: &'c Chat, context: Context) -> Self {
        let random = match chat.speakers.seed() {
            Some(seed) => fastrand::Rng::with_seed(seed),
            None => fastrand::Rng::new(),
        };
        Self {
            chat,
            _closes: ClosesLog(context.journal.clone()),
            context,
            history: Vec::new(),
            states: chat.agents.iter().map(|_| State::default()).collect(),
            code_done: 0,
            interrupted: None,
            began: Vec::new(),
            came: Came::Nothing,
            streamed: false,
            guard: Guard::default(),
            random,
            before: 0,
            opened: false,
        }
    }

    /// Runs it to its end.
    pub(super) async fn run(mut self, opening: Opening, parent: Option<String>) -> ChatResult {
        let span = tracing::info_span!(
            "conversation",
            otel.name = format!("conversation {}", self.chat.names()),
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
        for state in &mut self.states {
            if let Some(session) = state.session.take()
                && let Err(error) =
                    session.into_inner().unwrap_or_else(PoisonError::into_inner).close().await
            {
                let text = format!(
                    "a session could not be closed: {}",
                    cellblock_exec::with_causes(&error)
                );
                self.context.emit(|chat| Event::Notice { chat, text });
            }
        }
        let summary = self.summary(&stop).instrument(span).await;
        let (human_input, tool_calls) = self.context.journal.close(&stop);
        self.context.emit(|chat| Event::ChatStopped {
            chat,
            depth: self.context.depth,
            reason: stop.clone(),
        });
        ChatResult {
            id: self.context.chat.to_string(),
            history: self.history,
            summary,
            cost: self.context.cost(),
            human_input,
            tool_calls,
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
        // The first message is the task, which may well say how the last one is to end.
        let is_first = self.opened && self.history.len() == self.before + 1;
        if let (Some(rule), Some(last), false) =
            (&self.chat.is_termination, self.history.last(), is_first)
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
        let Some(speaker) = self.next_speaker().await? else {
            return Ok((0, Said::End(StopReason::NoSpeaker)));
        };
        let agent = &self.chat.agents[speaker].name;
        let span = tracing::info_span!(
            "invoke_agent",
            otel.name = format!("invoke_agent {agent}"),
            gen_ai.operation.name = "invoke_agent",
            gen_ai.agent.name = agent,
            gen_ai.conversation.id = &*self.context.chat,
        );
        let said = self.reply(speaker).instrument(span).await?;
        Ok((speaker, said))
    }

    /// Puts a message into the history, saves it, and tells who follows.
    fn send(&mut self, speaker: usize, mut message: Message) -> Result<()> {
        message.tool_calls.iter_mut().for_each(crate::tool::leave_out_large);
        self.guard.see(self.chat, speaker, &message, std::mem::take(&mut self.came));
        if self.context.events.is_some() {
            let (to, depth, streamed) =
                (self.peer(speaker).to_owned(), self.context.depth, self.streamed);
            self.context.emit(|chat| Event::Message {
                chat,
                depth,
                to,
                message: message.clone(),
                streamed,
            });
        }
        self.streamed = false;
        self.context.journal.message(&message, || self.kept())?;
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
pub(super) fn failed(error: &Error) -> StopReason {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    let partial = match error {
        Error::Model { source: ModelError::Interrupted { received, .. }, .. }
            if !received.is_empty() =>
        {
            Some(received.clone())
        }
        _ => None,
    };
    StopReason::Failed {
        message: error.to_string(),
        causes: causes.map(ToString::to_string).collect(),
        partial,
    }
}

/// The record of a call out of code that was under way when the chat stopped.
fn unfinished(calling: Calling) -> ToolRecord {
    let Calling { agent, name, arguments } = calling;
    let answer = super::interrupted::CALL.to_owned();
    ToolRecord { agent, name, arguments, answer, is_error: true, from_code: true }
}
