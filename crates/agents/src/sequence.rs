//! Sequences: several chats, of which later ones start with the summaries of earlier ones.

use cellblock_exec::{BoxFuture, CancellationToken};
use futures_util::{StreamExt as _, stream::FuturesUnordered};

use crate::{
    chat::{Chat, opening::Opening},
    context::{Context, new_id},
    error::{Error, Result},
    event::EventSink,
    record::{Budget, ChatResult, Cost, StopReason, check_new_log},
};

/// Several chats, and what they share. It is a description without state, and can be run more than
/// once.
///
/// ```
/// # use cellblock_agents::{Budget, Chat, ChatResult, Result, sequence::{Sequence, Step}};
/// # async fn example(research: Chat, report: Chat) -> Result<Vec<ChatResult>> {
/// let steps = vec![
///     Step::new(research, "What is new in batteries?"),
///     Step::new(report, "Write a report."),
/// ];
/// let budget = Budget { cost: Some(0.5), ..Budget::default() };
/// Sequence { budget, ..Sequence::new(steps) }.run_in_order().await
/// # }
/// ```
#[derive(Clone)]
pub struct Sequence {
    /// The chats.
    pub steps: Vec<Step>,
    /// The budget of all chats together; each may have one of its own, too. Time counts from the
    /// start of the first chat. Default: no limit.
    pub budget: Budget,
    /// Ends the running chats; those that have not started end at their first message.
    pub cancel: CancellationToken,
    /// The subscriber to all chats, besides the subscribers of single ones. Default: none.
    pub events: Option<EventSink>,
}

/// One chat of a sequence.
#[derive(Clone)]
pub struct Step {
    /// The chat. Its own `carryover` comes before the summaries of earlier chats.
    pub chat: Chat,
    /// The start of the chat.
    pub opening: Opening,
    /// The places of the chats that must end before it starts.
    pub after: Vec<usize>,
    /// The places of chats whose summaries are not carried over to it. Default: none.
    pub excluded_carryover: Vec<usize>,
}

impl Step {
    /// Creates a step that waits for no other.
    pub fn new(chat: Chat, opening: impl Into<Opening>) -> Self {
        Self { chat, opening: opening.into(), after: Vec::new(), excluded_carryover: Vec::new() }
    }
}

/// Runs chats that share nothing one after the other: [`Sequence::run_in_order`].
///
/// # Errors
/// The errors of [`Sequence::run_in_order`].
pub fn run_in_order(steps: Vec<Step>) -> BoxFuture<'static, Result<Vec<ChatResult>>> {
    Box::pin(async move { Sequence::new(steps).run_in_order().await })
}

/// Runs chats that share nothing at once: [`Sequence::run_as_ready`].
///
/// # Errors
/// The errors of [`Sequence::run_as_ready`].
pub fn run_as_ready(steps: Vec<Step>) -> BoxFuture<'static, Result<Vec<Option<ChatResult>>>> {
    Box::pin(async move { Sequence::new(steps).run_as_ready().await })
}

impl Sequence {
    /// Creates a sequence without a common budget and subscriber.
    pub fn new(steps: Vec<Step>) -> Self {
        Self { steps, budget: Budget::default(), cancel: CancellationToken::new(), events: None }
    }

    /// Runs the chats one after the other. Each starts with the summaries of all before.
    ///
    /// A chat that a limit or a failure stops ends the sequence: its result is the last one.
    ///
    /// # Errors
    /// [`Error::Invalid`] and [`Error::Log`] if one of the chats cannot start. All are checked
    /// before the first one starts: nothing has been said then. Later errors are in the results.
    pub fn run_in_order(&self) -> BoxFuture<'_, Result<Vec<ChatResult>>> {
        Box::pin(async move {
            let whole = self.checked_context()?;
            let mut results: Vec<Option<ChatResult>> = Vec::with_capacity(self.steps.len());
            for step in &self.steps {
                let before: Vec<usize> = (0..results.len()).collect();
                let chat = with_summaries(step, &before, &results);
                let result = run_step(&chat, &step.opening, &whole).await;
                let is_success = result.stop.is_success();
                results.push(Some(result));
                if !is_success {
                    break;
                }
            }
            Ok(results.into_iter().flatten().collect())
        })
    }

    /// Runs the chats at once, each as soon as those in its [`after`](Step::after) have ended,
    /// whose summaries it starts with. The results are in the order of the steps. A chat is `None`
    /// if one that it needs did not come to its end.
    ///
    /// # Errors
    /// The errors of [`run_in_order`](Self::run_in_order), and [`Error::Invalid`] if chats wait for
    /// each other or for one that does not exist.
    pub fn run_as_ready(&self) -> BoxFuture<'_, Result<Vec<Option<ChatResult>>>> {
        Box::pin(async move {
            check_order(&self.steps)?;
            let whole = self.checked_context()?;
            let mut waiting: Vec<Option<&Step>> = self.steps.iter().map(Some).collect();
            let mut results: Vec<Option<ChatResult>> = waiting.iter().map(|_| None).collect();
            let mut running = FuturesUnordered::new();
            loop {
                for (place, waits) in waiting.iter_mut().enumerate() {
                    let has_ended = |needed: &usize| {
                        results[*needed].as_ref().is_some_and(|result| result.stop.is_success())
                    };
                    if let Some(step) = waits.take_if(|step| step.after.iter().all(has_ended)) {
                        let (chat, whole) = (with_summaries(step, &step.after, &results), &whole);
                        running.push(async move {
                            (place, run_step(&chat, &step.opening, whole).await)
                        });
                    }
                }
                let Some((place, result)) = running.next().await else { return Ok(results) };
                results[place] = Some(result);
            }
        })
    }

    /// Checks all chats, and returns the context that they share.
    fn checked_context(&self) -> Result<Context> {
        self.budget.check()?;
        for (place, step) in self.steps.iter().enumerate() {
            step.chat.check(&step.opening).map_err(|error| match error {
                Error::Invalid(why) => Error::Invalid(format!("chat {place}: {why}")),
                other => other,
            })?;
            let Some(log) = &step.chat.log else { continue };
            let earlier = &self.steps[..place];
            if let Some(same) =
                earlier.iter().position(|other| other.chat.log.as_ref() == Some(log))
            {
                let path = log.display();
                return Err(Error::Invalid(format!(
                    "chat {place}: chat {same} is saved to {path} already"
                )));
            }
            check_new_log(log)?;
        }
        Ok(Context::new(
            new_id(),
            self.cancel.clone(),
            self.events.clone(),
            self.budget.clone(),
            Cost::default(),
        ))
    }
}

/// Runs the chat of a step. An error at its start becomes its result, so that the results of the
/// others are kept.
async fn run_step(chat: &Chat, opening: &Opening, whole: &Context) -> ChatResult {
    let result = chat.run_as_part(whole, opening.clone()).await;
    result.unwrap_or_else(|error| ChatResult {
        id: new_id().to_string(),
        history: chat.history.clone(),
        summary: String::new(),
        cost: Cost::default(),
        human_input: Vec::new(),
        tool_calls: Vec::new(),
        stop: StopReason::from(&error),
    })
}

/// The chat of a step with the summaries of those before it.
fn with_summaries(step: &Step, before: &[usize], finished: &[Option<ChatResult>]) -> Chat {
    let mut chat = step.chat.clone();
    let carried = before.iter().filter(|place| !step.excluded_carryover.contains(place));
    let summaries =
        carried.filter_map(|place| finished[*place].as_ref()).map(|result| result.summary.clone());
    chat.carryover.extend(summaries);
    chat
}

/// Checks that every chat can start at some time.
fn check_order(steps: &[Step]) -> Result<()> {
    let mut ended = vec![false; steps.len()];
    for (place, step) in steps.iter().enumerate() {
        if let Some(missing) = step.after.iter().find(|needed| **needed >= steps.len()) {
            return Err(Error::Invalid(format!(
                "chat {place} waits for chat {missing}, but the sequence has only {}",
                steps.len()
            )));
        }
    }
    while let Some(place) = (0..steps.len())
        .find(|place| !ended[*place] && steps[*place].after.iter().all(|needed| ended[*needed]))
    {
        ended[place] = true;
    }
    match ended.iter().position(|ended| !ended) {
        None => Ok(()),
        Some(place) => Err(Error::Invalid(format!(
            "chat {place} can never start: the chats that it waits for wait for each other"
        ))),
    }
}
