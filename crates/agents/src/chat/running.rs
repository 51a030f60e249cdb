//! A chat under way: its loop.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
};

use cellblock_exec::{Artifact, InputFile, Session};
use tokio::task::coop::consume_budget;
use tracing::Instrument as _;

use super::{
    Chat, ChatResult, MANAGER, Opening, StopReason,
    guard::Guard,
    log::{Begun, Kept, Log, Saved},
};
use crate::{
    agent::{Agent, Reply, Turn},
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
        span.record("cellblock.chat.stop", tracing::field::display(&stop));
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

    /// What the agent says: the first of its ways that has an answer.
    async fn reply(&mut self, speaker: usize) -> Result<Said> {
        let chat = self.chat;
        let agent = &chat.agents[speaker];
        self.streamed = false;
        let received = self.receive(agent);
        for way in &agent.replies {
            let said = match way {
                Reply::Custom(function) => {
                    let (peer, messages) = (self.peer(speaker), self.seen(speaker, received.as_ref()));
                    let turn = Turn { agent, peer, messages: &messages, context: &self.context };
                    function
                        .reply(&turn)
                        .await?
                        .map(|message| Said::Message(Message { name: agent.name.clone(), ..message }))
                }
                Reply::Human => self.person(speaker, received.as_ref()).await?,
                Reply::Nested if agent.nested.is_empty() => None,
                Reply::Nested => self.nested(speaker, received.as_ref()).await?,
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

    /// What the agent sees of the history; `received` stands in the place of the last message.
    fn seen(&self, speaker: usize, received: Option<&Message>) -> Cow<'_, [Message]> {
        let messages = &self.history[self.states[speaker].sees_from..];
        let Some(received) = received else { return Cow::Borrowed(messages) };
        let mut changed = messages.to_vec();
        if let Some(last) = changed.last_mut() {
            last.clone_from(received);
        }
        Cow::Owned(changed)
    }

    async fn nested(&mut self, speaker: usize, received: Option<&Message>) -> Result<Option<Said>> {
        let agent = &self.chat.agents[speaker];
        let Some(last) = received.or(self.history.last()) else { return Ok(None) };
        let Some(nested) = crate::nested::triggered(agent, last) else { return Ok(None) };
        self.begin(Begun::Nested(agent.name.clone()))?;
        let messages = self.seen(speaker, received);
        let answer = crate::nested::answer(agent, nested, &messages, &self.context).await?;
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

    /// What is saved with a message.
    fn kept(&self) -> Kept {
        Kept {
            auto_replies: self.states.iter().map(|state| state.auto_replies).collect(),
            sees_from: self.states.iter().map(|state| state.sees_from).collect(),
            code_done: self.code_done,
        }
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
    pub(super) fn heard(&mut self, text: &str) {
        self.human_input.push(text.to_owned());
        if let Some(log) = &mut self.log {
            log.human(text);
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

/// The files that code of an agent made so far, in their latest versions; what is too large to be kept is not among them.
pub(super) fn files_made(history: &[Message], agent: &str) -> Vec<InputFile> {
    let own = history.iter().filter(|message| message.name == agent);
    let whole = |artifact: &&Artifact| artifact.content.len() as u64 == artifact.bytes;
    let files: BTreeMap<_, _> = own
        .flat_map(|message| message.artifacts.iter().filter(whole))
        .map(|artifact| (artifact.path.clone(), artifact.content.clone()))
        .collect();
    files.into_iter().map(|(path, content)| InputFile { path, content }).collect()
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
