//! Chats under way: [`Chat::run`], [`Chat::run_within`] and [`Chat::resume`].
//!
//! ```text
//! chat_loop ─┬─► select           the next speaker
//!            ├─► reply ─► person, nested, tools, code, model: one way to an answer each
//!            ├─► guard            loops that lead nowhere
//!            └─► summary
//! ```
//!
//! A nested chat runs as any other, in a context within that of the outer chat.

mod chat_loop;
mod code;
mod guard;
mod interrupted;
mod model;
mod nested;
mod person;
mod perspective;
mod reply;
mod select;
mod summary;
mod tools;
mod turn;

use std::pin::pin;

use cellblock_exec::BoxFuture;

use crate::{
    chat::{Chat, opening::Opening},
    context::{Context, new_id},
    error::{Error, Result},
    record::{ChatResult, Cost, Log, LogHeader, PendingCall},
};
use chat_loop::{ChatState, run_chat};

impl Chat {
    /// Runs the chat, starting with the first agent's message.
    ///
    /// An error on the way ends the chat and is the [`StopReason`](crate::StopReason) of the
    /// result, which always has the history.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the description is invalid; [`Error::Log`] if the file cannot be
    /// created. Nothing has been said then.
    pub fn run(&self, opening: impl Into<Opening>) -> BoxFuture<'_, Result<ChatResult>> {
        run_alone(self, opening.into())
    }

    /// Runs the chat within another one: its cost counts there too, the subscriber of the outer
    /// chat gets its events, and it ends with the outer chat.
    ///
    /// # Errors
    /// The errors of [`run`](Self::run).
    pub fn run_within<'c>(
        &'c self,
        outer: &'c Context,
        opening: impl Into<Opening>,
    ) -> BoxFuture<'c, Result<ChatResult>> {
        run_nested(self, outer, opening.into())
    }

    /// Continues a chat that was saved to [`log`](Self::log), at the point where it stopped.
    ///
    /// No message is repeated. Code, tools and nested chats that were running are not run again,
    /// and the one who asked for them is told so. Variables of the code are lost; its files are
    /// restored. An answer of a model or a [custom way](crate::Reply::Custom) that was under way is
    /// made again. The time of the [budget](Self::budget) starts anew; money and tokens continue.
    ///
    /// # Errors
    /// [`Error::Log`] if the file cannot be read, has another version, or contains no message yet;
    /// [`Error::Invalid`] if it is of other agents.
    pub fn resume(&self) -> BoxFuture<'_, Result<ChatResult>> {
        Box::pin(async move {
            self.check_description()?;
            let path = self.log.as_ref().ok_or_else(|| {
                Error::Invalid("a chat is resumed from its `log`, and this one has none".to_owned())
            })?;
            let (log, mut saved) = Log::open(path)?;
            let names = saved.history.iter().map(|message| &message.name).chain(&saved.agents);
            self.check_names(names.map(String::as_str))?;
            let context = Context::new(
                saved.id.as_str().into(),
                self.cancel.clone(),
                self.events.clone(),
                self.budget.clone(),
                saved.cost.clone(),
            );
            let (human_input, tool_calls) =
                (std::mem::take(&mut saved.human_input), std::mem::take(&mut saved.tool_calls));
            let interrupted = std::mem::take(&mut saved.open_calls).into_iter();
            context.journal.attach_log(log);
            context.journal.restore(human_input, tool_calls);
            // If this fails, the next message cannot be saved either, which ends the chat.
            let _ = context
                .journal
                .record_tool_calls(interrupted.map(PendingCall::into_interrupted).collect());
            let state = ChatState::resumed(self, saved);
            Ok(run_chat(self, &context, state, Opening::Nothing, None).await)
        })
    }

    /// Runs the chat as one of several that share the context `whole` and are not within each
    /// other.
    pub(crate) fn run_as_part<'c>(
        &'c self,
        whole: &'c Context,
        opening: Opening,
    ) -> BoxFuture<'c, Result<ChatResult>> {
        Box::pin(async move {
            self.check(&opening)?;
            let context = whole.part(self.budget.clone(), self.events.clone());
            run_below(self, &context, None, opening).await
        })
    }
}

fn run_alone(chat: &Chat, opening: Opening) -> BoxFuture<'_, Result<ChatResult>> {
    Box::pin(async move {
        chat.check(&opening)?;
        let context = Context::new(
            new_id(),
            chat.cancel.clone(),
            chat.events.clone(),
            chat.budget.clone(),
            Cost::default(),
        );
        start(chat, &context, None, opening).await
    })
}

fn run_nested<'c>(
    chat: &'c Chat,
    outer: &'c Context,
    opening: Opening,
) -> BoxFuture<'c, Result<ChatResult>> {
    Box::pin(async move {
        chat.check(&opening)?;
        let context = outer.within(chat.budget.clone(), chat.events.clone());
        run_below(chat, &context, Some(outer.chat.to_string()), opening).await
    })
}

/// Runs a chat in a context that is cancelled from above, and cancels it at the chat's own
/// cancellation, too.
async fn run_below(
    chat: &Chat,
    context: &Context,
    parent: Option<String>,
    opening: Opening,
) -> Result<ChatResult> {
    let mut running = pin!(start(chat, context, parent, opening));
    tokio::select! {
        biased;
        () = chat.cancel.cancelled() => {}
        result = &mut running => return result,
    }
    context.cancel.cancel();
    running.await
}

async fn start(
    chat: &Chat,
    context: &Context,
    parent: Option<String>,
    opening: Opening,
) -> Result<ChatResult> {
    let opened = !matches!(opening, Opening::Nothing);
    let state = ChatState::new(chat, opened);
    if let Some(path) = &chat.log {
        let before = chat.history.len();
        let header = LogHeader { id: &context.chat, agents: chat.names(), before, opened };
        context.journal.attach_log(Log::create(path, header)?);
        state.record_history(&context.journal)?;
    }
    Ok(run_chat(chat, context, state, opening, parent).await)
}
