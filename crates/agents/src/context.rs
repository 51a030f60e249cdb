//! The context of everything that happens in a chat: its subscriber, its cancellation, its budget
//! and its journal. All model calls go through [`Context::ask`].

use std::{fmt, future::pending, sync::Arc, time::Instant};

use cellblock_exec::{BoxFuture, CancellationToken};
use tokio::time::sleep_until;
use tracing::Instrument as _;

use crate::{
    event::{Event, EventSink},
    model::{Completion, ModelClient, ModelError, ModelRequest, TextSink},
    record::{Budget, BudgetExhausted, Cost, Journal, Ledger},
};

/// The context of a chat.
#[derive(Clone)]
pub struct Context {
    /// The id of the chat.
    pub chat: Arc<str>,
    /// The depth of nesting; 0 for an outermost chat.
    pub depth: usize,
    /// Ends the chat and all chats within it.
    pub cancel: CancellationToken,
    /// The subscriber.
    pub events: Option<EventSink>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) journal: Arc<Journal>,
}

/// Creates the id of a chat.
pub(crate) fn new_id() -> Arc<str> {
    uuid::Uuid::new_v4().to_string().into()
}

impl Context {
    /// Creates the context of an outermost chat. `spent` is the cost so far of a resumed one.
    pub(crate) fn new(
        chat: Arc<str>,
        cancel: CancellationToken,
        events: Option<EventSink>,
        budget: Budget,
        spent: Cost,
    ) -> Self {
        let ledger = Arc::new(Ledger::new(budget, spent, None));
        let journal = Arc::new(Journal::new(ledger.clone(), None));
        Self { chat, depth: 0, cancel, events, journal, ledger }
    }

    /// Creates the context of a chat within this one, with its own budget and an own subscriber.
    pub(crate) fn within(&self, budget: Budget, events: Option<EventSink>) -> Self {
        let part = self.part(budget, events);
        let journal = Arc::new(Journal::new(part.ledger.clone(), Some(self.journal.clone())));
        Self { depth: self.depth + 1, journal, ..part }
    }

    /// Creates the context of one chat of a sequence. The chats share budget, cancellation and
    /// subscriber, and have records of their own.
    pub(crate) fn part(&self, budget: Budget, events: Option<EventSink>) -> Self {
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
        let cancel = self.cancel.child_token();
        Self { chat: new_id(), depth: self.depth, cancel, events, ledger, journal }
    }

    /// Notifies the subscriber. The event is only created if there is one.
    pub fn emit(&self, event: impl FnOnce(String) -> Event) {
        if let Some(sink) = &self.events {
            sink(&event(self.chat.to_string()));
        }
    }

    /// Notifies the subscriber of something that is in no message.
    pub(crate) fn notice(&self, text: String) {
        self.emit(|chat| Event::Notice { chat, text });
    }

    /// The cost of the chat so far.
    pub fn cost(&self) -> Cost {
        self.ledger.cost()
    }

    /// The limit of the budget that was reached, if any.
    pub fn exhausted(&self) -> Option<BudgetExhausted> {
        self.ledger.exhausted()
    }

    /// Waits until the time of the chat, or of one that contains it, is over; without a limit,
    /// forever.
    pub(crate) async fn time_is_over(&self) -> BudgetExhausted {
        match self.ledger.deadline() {
            Some((deadline, limit)) => {
                sleep_until(deadline.into()).await;
                BudgetExhausted::Time { limit: limit.as_secs_f64() }
            }
            None => pending().await,
        }
    }

    /// Asks a model for an agent, counts the cost, and notifies the subscriber. The caller checks
    /// the budget before.
    ///
    /// # Errors
    /// The errors of the model.
    pub fn ask<'a>(
        &'a self,
        model: &'a dyn ModelClient,
        agent: &'a str,
        request: &'a ModelRequest,
        on_text: Option<&'a TextSink>,
    ) -> BoxFuture<'a, Result<Completion, ModelError>> {
        Box::pin(async move {
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
                    self.journal.record_cost();
                    record_answer(&span, completion);
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
        })
    }
}

fn record_answer(span: &tracing::Span, completion: &Completion) {
    span.record("gen_ai.response.model", completion.model.as_str());
    span.record("gen_ai.response.finish_reasons", completion.finish.as_str());
    span.record("gen_ai.usage.input_tokens", completion.usage.prompt_tokens);
    span.record("gen_ai.usage.output_tokens", completion.usage.completion_tokens);
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("chat", &self.chat)
            .field("depth", &self.depth)
            .finish_non_exhaustive()
    }
}
