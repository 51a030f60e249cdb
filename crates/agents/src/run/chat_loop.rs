//! The loop of a chat: select a speaker, get its answer, apply it, until something ends the chat.
//!
//! Only this file changes the state of a chat. The ways of answering get a view of it and the state
//! of their own agent, and return everything else with the answer.

use std::{borrow::Cow, pin::pin, sync::Arc};

use tokio::task::coop::consume_budget;
use tracing::Instrument as _;

use super::{
    guard::LoopGuard,
    interrupted::{InterruptedWork, interrupted_answer},
    reply::{apply_hooks, reply},
    select::next_speaker,
    summary::summarize,
    turn::{Action, AgentAnswer, AgentState, ClearHistory, View, WorkOutcome},
};
use crate::{
    chat::{Chat, MANAGER, opening::Opening},
    context::Context,
    error::Result,
    event::Event,
    message::Message,
    record::{ChatResult, Checkpoint, Journal, SavedChat, StopReason},
    tool,
};

/// The state of a chat under way.
pub struct ChatState {
    history: Vec<Message>,
    agents: Vec<AgentState>,
    /// The number of messages whose code has run, or must no longer run.
    code_done: usize,
    interrupted: Option<InterruptedWork>,
    guard: LoopGuard,
    random: fastrand::Rng,
    /// The number of messages from before the chat, which do not count for the maximum of turns.
    before: usize,
    /// True if the message after those is the opening message.
    opened: bool,
}

impl ChatState {
    /// The state of a chat that starts.
    pub fn new(chat: &Chat, opened: bool) -> Self {
        let before = chat.history.len();
        Self {
            history: chat.history.clone(),
            agents: chat.agents.iter().map(|_| AgentState::default()).collect(),
            code_done: before.saturating_sub(1),
            interrupted: None,
            guard: LoopGuard::default(),
            random: match chat.speakers.seed() {
                Some(seed) => fastrand::Rng::with_seed(seed),
                None => fastrand::Rng::new(),
            },
            before,
            opened,
        }
    }

    /// The state of a chat as it was saved. The guard starts anew: the caller wants the chat to try
    /// again.
    pub fn resumed(chat: &Chat, saved: SavedChat) -> Self {
        let mut state = Self::new(chat, saved.opened);
        let Checkpoint { auto_replies, sees_from, code_done } = saved.checkpoint;
        // The order of the agents may have changed.
        for (place, name) in saved.agents.iter().enumerate() {
            if let Some(agent) = chat.find(name) {
                let agent = &mut state.agents[agent];
                agent.auto_replies = auto_replies.get(place).copied().unwrap_or(0);
                let first = sees_from.get(place).copied().unwrap_or(0);
                agent.sees_from = first.min(saved.history.len());
            }
        }
        state.history = saved.history;
        state.code_done = code_done;
        state.before = saved.before;
        state.interrupted =
            saved.pending_work.map(|work| InterruptedWork { work, calls: saved.started_calls });
        state
    }

    /// Saves the messages from before the chat.
    pub fn record_history(&self, journal: &Journal) -> Result<()> {
        self.history
            .iter()
            .try_for_each(|message| journal.record_message(message, || self.checkpoint()))
    }

    fn checkpoint(&self) -> Checkpoint {
        Checkpoint {
            auto_replies: self.agents.iter().map(|agent| agent.auto_replies).collect(),
            sees_from: self.agents.iter().map(|agent| agent.sees_from).collect(),
            code_done: self.code_done,
        }
    }
}

/// Detaches the log when the chat ends, and when its future is dropped: a tool or a sandbox may
/// hold the context longer, and until then nobody could resume the chat.
struct DetachLog(Arc<Journal>);

impl Drop for DetachLog {
    fn drop(&mut self) {
        self.0.detach_log();
    }
}

/// Runs a chat to its end.
pub async fn run_chat(
    chat: &Chat,
    context: &Context,
    mut state: ChatState,
    opening: Opening,
    parent: Option<String>,
) -> ChatResult {
    let _detach = DetachLog(context.journal.clone());
    let span = tracing::info_span!(
        "conversation",
        otel.name = format!("conversation {}", chat.names().join(", ")),
        gen_ai.conversation.id = &*context.chat,
        cellblock.chat.depth = context.depth,
        cellblock.chat.stop = tracing::field::Empty,
    );
    context.emit(|id| Event::ChatStarted { chat: id, parent, agents: chat.names() });
    let turns = take_turns(chat, context, &mut state, opening);
    let stop = match turns.instrument(span.clone()).await {
        Ok(reason) => reason,
        Err(error) => StopReason::from(&error),
    };
    span.record("cellblock.chat.stop", stop.kind());
    close_sessions(context, &mut state.agents).await;
    let history = state.history;
    let summary = summarize(chat, context, &history, &stop).instrument(span).await;
    let (human_input, tool_calls) = context.journal.close(&stop);
    context.emit(|chat| Event::ChatStopped { chat, depth: context.depth, reason: stop.clone() });
    ChatResult {
        id: context.chat.to_string(),
        history,
        summary,
        cost: context.cost(),
        human_input,
        tool_calls,
        stop,
    }
}

async fn close_sessions(context: &Context, agents: &mut [AgentState]) {
    for agent in agents {
        if let Some(session) = agent.session.take()
            && let Err(error) = session.close().await
        {
            let causes = cellblock_exec::with_causes(&error);
            context.notice(format!("a session could not be closed: {causes}"));
        }
    }
}

/// Lets the agents speak until something ends the chat.
async fn take_turns(
    chat: &Chat,
    context: &Context,
    state: &mut ChatState,
    opening: Opening,
) -> Result<StopReason> {
    if chat.max_turns == Some(0) {
        return Ok(StopReason::MaxTurns { turns: 0 });
    }
    if let Some(content) = opening.content(&state.history, &chat.carryover) {
        let message = Message::new(chat.agents[0].name.as_str(), content);
        send(chat, context, state, 0, message, None, false)?;
    }
    let mut time_is_over = pin!(context.time_is_over());
    loop {
        // Agents that never wait would otherwise keep everything else on their thread from running.
        consume_budget().await;
        if let Some(reason) = stop_reason(chat, context, state) {
            return Ok(reason);
        }
        let turn = tokio::select! {
            biased;
            () = context.cancel.cancelled() => return Ok(StopReason::Cancelled),
            exhausted = &mut time_is_over => return Ok(StopReason::Budget(exhausted)),
            turn = take_turn(chat, context, state) => turn?,
        };
        let Some((speaker, answer)) = turn else { return Ok(StopReason::NoSpeaker) };
        if let Some(reason) = apply(chat, context, state, speaker, answer)? {
            return Ok(reason);
        }
    }
}

/// The reason to end the chat before the next turn.
fn stop_reason(chat: &Chat, context: &Context, state: &ChatState) -> Option<StopReason> {
    if context.cancel.is_cancelled() {
        return Some(StopReason::Cancelled);
    }
    let count = state.history.len() - state.before;
    if let (Some(max), Some(turns)) = (chat.max_messages(), chat.max_turns)
        && count >= max
    {
        return Some(StopReason::MaxTurns { turns });
    }
    // The first message is the task, which may say how the last one is to end.
    let is_opening = state.opened && count == 1;
    if let Some(is_termination) = &chat.is_termination
        && !state.history.is_empty()
        && !is_opening
        && is_termination(&state.history)
    {
        return Some(StopReason::Termination { agent: MANAGER.to_owned() });
    }
    state.guard.stop_reason(chat).or_else(|| context.exhausted().map(StopReason::Budget))
}

/// Returns the next speaker and its answer; `None` if nobody speaks next.
async fn take_turn(
    chat: &Chat,
    context: &Context,
    state: &mut ChatState,
) -> Result<Option<(usize, AgentAnswer)>> {
    if let Some(interrupted) = state.interrupted.take()
        && let Some((speaker, mut answer)) = interrupted_answer(chat, &state.history, &interrupted)
    {
        let agent = &mut state.agents[speaker];
        agent.auto_replies = agent.auto_replies.saturating_add(1);
        apply_hooks(&chat.agents[speaker], &mut answer);
        return Ok(Some((speaker, answer)));
    }
    let speaker = next_speaker(chat, context, &state.history, &mut state.random).await?;
    let Some(speaker) = speaker else { return Ok(None) };
    let name = &chat.agents[speaker].name;
    let span = tracing::info_span!(
        "invoke_agent",
        otel.name = format!("invoke_agent {name}"),
        gen_ai.operation.name = "invoke_agent",
        gen_ai.agent.name = name,
        gen_ai.conversation.id = &*context.chat,
    );
    let history = received_history(chat, speaker, &state.history);
    let agent = &mut state.agents[speaker];
    let view = View {
        chat,
        context,
        speaker,
        history: &history,
        sent: &state.history,
        visible: &history[agent.sees_from..],
        code_done: state.code_done,
    };
    let answer = reply(&view, agent).instrument(span).await?;
    Ok(Some((speaker, answer)))
}

/// The history with the last message as the hooks of the speaker change it.
fn received_history<'h>(chat: &Chat, speaker: usize, history: &'h [Message]) -> Cow<'h, [Message]> {
    let hooks = &chat.agents[speaker].hooks.last_received;
    if hooks.is_empty() {
        return Cow::Borrowed(history);
    }
    let mut changed = history.to_vec();
    if let Some(last) = changed.pop() {
        changed.push(hooks.iter().fold(last, |message, hook| hook(message)));
    }
    Cow::Owned(changed)
}

/// Applies an answer. Returns the reason if it ends the chat.
fn apply(
    chat: &Chat,
    context: &Context,
    state: &mut ChatState,
    speaker: usize,
    answer: AgentAnswer,
) -> Result<Option<StopReason>> {
    let AgentAnswer { action, work, streamed, code_done, clear_history } = answer;
    if code_done {
        state.code_done = state.history.len();
    }
    if let Some(ClearHistory { agent: only, keep }) = clear_history {
        let first = state.history.len().saturating_sub(keep);
        for (place, agent) in state.agents.iter_mut().enumerate() {
            if only.is_none_or(|only| only == place) {
                agent.sees_from = agent.sees_from.max(first);
            }
        }
    }
    match action {
        Action::Say(message) => {
            send(chat, context, state, speaker, message, work, streamed)?;
            Ok(None)
        }
        Action::Stop(reason) => Ok(Some(reason)),
    }
}

/// Saves a message, notifies the subscriber, and puts it into the history.
fn send(
    chat: &Chat,
    context: &Context,
    state: &mut ChatState,
    speaker: usize,
    mut message: Message,
    work: Option<WorkOutcome>,
    streamed: bool,
) -> Result<()> {
    message.tool_calls.iter_mut().for_each(tool::omit_large_arguments);
    state.guard.count(chat, speaker, &message, work);
    context.journal.record_message(&message, || state.checkpoint()).inspect_err(|_| {
        if streamed {
            context.emit(|chat| Event::TextWithdrawn { chat, from: message.name.clone() });
        }
    })?;
    context.emit(|id| Event::Message {
        chat: id,
        depth: context.depth,
        to: chat.peer(speaker).to_owned(),
        message: message.clone(),
        streamed,
    });
    state.history.push(message);
    Ok(())
}
