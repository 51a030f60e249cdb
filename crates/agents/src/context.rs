//! What everything that happens in a chat can see: where events go, what ends it, what it has spent.

use std::{fmt, future::pending, sync::Arc, time::Instant};

use cellblock_exec::CancellationToken;
use tokio::time::sleep_until;
use tracing::Instrument as _;

use crate::{
    budget::{Budget, Ledger, Spent},
    chat::Journal,
    cost::Cost,
    event::{Event, EventSink},
    model::{Completion, ModelClient, ModelError, ModelRequest, TextSink},
};

/// The chat that something happens in.
#[derive(Clone)]
pub struct Context {
    /// The chat's id.
    pub chat: Arc<str>,
    /// How deep it is nested; 0 for a chat that is in no other.
    pub depth: usize,
    /// Ends the chat and all within it.
    pub cancel: CancellationToken,
    /// Who follows.
    pub events: Option<EventSink>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) journal: Arc<Journal>,
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("chat", &self.chat)
            .field("depth", &self.depth)
            .finish_non_exhaustive()
    }
}

impl Context {
    /// The context of a chat that is in no other.
    pub(crate) fn new(
        chat: Arc<str>,
        cancel: CancellationToken,
        events: Option<EventSink>,
        budget: Budget,
        spent: Cost,
    ) -> Self {
        let ledger = Arc::new(Ledger::new(budget, spent, None));
        Self {
            chat,
            depth: 0,
            cancel,
            events,
            journal: Arc::new(Journal::new(ledger.clone(), None)),
            ledger,
        }
    }

    /// The context of a chat within this one, with its own budget and who follows only it.
    pub(crate) fn within(&self, chat: Arc<str>, budget: Budget, events: Option<EventSink>) -> Self {
        let part = self.part(chat, budget, events);
        let journal = Arc::new(Journal::new(part.ledger.clone(), Some(self.journal.clone())));
        Self { depth: self.depth + 1, journal, ..part }
    }

    /// The context of one chat of several that spend, end and are followed together, and are otherwise on their own.
    pub(crate) fn part(&self, chat: Arc<str>, budget: Budget, events: Option<EventSink>) -> Self {
        let events = match (self.events.clone(), events) {
            (Some(outer), Some(own)) => {
                let both: EventSink = Arc::new(move |event| {
                    outer(event);
                    own(event);
                });
                Some(both)
            }
            (outer, own) => outer.or(own),
        };
        let ledger = Arc::new(Ledger::new(budget, Cost::default(), Some(self.ledger.clone())));
        let journal = Arc::new(Journal::new(ledger.clone(), None));
        Self { chat, depth: self.depth, cancel: self.cancel.child_token(), events, ledger, journal }
    }

    /// Tells who follows. The event is only made if somebody does.
    pub fn emit(&self, event: impl FnOnce(String) -> Event) {
        if let Some(sink) = &self.events {
            sink(&event(self.chat.to_string()));
        }
    }

    /// What the chat has spent so far.
    pub fn cost(&self) -> Cost {
        self.ledger.cost()
    }

    /// What of the budget is used up, if anything.
    pub fn spent(&self) -> Option<Spent> {
        self.ledger.spent()
    }

    /// Waits until the time of the chat, or of one that it is in, is over; for ever without a limit.
    pub(crate) async fn time_over(&self) -> Spent {
        match self.ledger.deadline() {
            Some((deadline, limit)) => {
                sleep_until(deadline.into()).await;
                Spent::Time { limit: limit.as_secs_f64() }
            }
            None => pending().await,
        }
    }

    /// Asks a model in the name of an agent, counts what it costs, and tells who follows.
    ///
    /// # Errors
    /// Those of the model. The budget is not looked at: that is the chat's to do before.
    pub async fn ask(
        &self,
        model: &dyn ModelClient,
        agent: &str,
        request: &ModelRequest,
        on_text: Option<&TextSink>,
    ) -> Result<Completion, ModelError> {
        let span = tracing::info_span!(
            "chat",
            otel.name = format!("chat {}", model.name()),
            gen_ai.operation.name = "chat",
            gen_ai.provider.name = model.provider(),
            gen_ai.request.model = model.name(),
            gen_ai.request.temperature = request.parameters.temperature,
            gen_ai.request.max_tokens = request.parameters.max_tokens,
            gen_ai.agent.name = agent,
            gen_ai.conversation.id = &*self.chat,
            gen_ai.response.model = tracing::field::Empty,
            gen_ai.response.finish_reasons = tracing::field::Empty,
            gen_ai.usage.input_tokens = tracing::field::Empty,
            gen_ai.usage.output_tokens = tracing::field::Empty,
            error.type = tracing::field::Empty,
        );
        let started = Instant::now();
        let answer = model.complete(request, on_text).instrument(span.clone()).await;
        match &answer {
            Ok(completion) => {
                self.ledger.add(completion);
                self.journal.spent();
                span.record("gen_ai.response.model", completion.model.as_str());
                span.record("gen_ai.response.finish_reasons", completion.finish.as_str());
                span.record("gen_ai.usage.input_tokens", completion.usage.prompt_tokens);
                span.record("gen_ai.usage.output_tokens", completion.usage.completion_tokens);
                self.emit(|chat| Event::ModelAnswered {
                    chat,
                    agent: agent.to_owned(),
                    model: completion.model.clone(),
                    usage: completion.usage,
                    cost: completion.cost,
                    cached: completion.cached,
                    duration: started.elapsed(),
                });
            }
            Err(error) => {
                span.record("error.type", error.kind());
            }
        }
        answer
    }
}
