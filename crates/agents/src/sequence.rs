//! Several chats, of which later ones bring along what earlier ones came to.

use cellblock_exec::CancellationToken;
use futures_util::{StreamExt as _, stream::FuturesUnordered};

use crate::{
    budget::Budget,
    chat::{Chat, ChatResult, Opening},
    context::Context,
    error::{Error, Result},
    event::EventSink,
};

/// Several chats, and what they share. It is a description, and can be run more than once.
///
/// ```
/// # use cellblock_agents::{Budget, Chat, ChatResult, Result, sequence::{Sequence, Step}};
/// # async fn example(research: Chat, report: Chat) -> Result<Vec<ChatResult>> {
/// let steps = vec![Step::new(research, "What is new in batteries?"), Step::new(report, "Write a report.")];
/// let budget = Budget { cost: Some(0.5), ..Budget::default() };
/// Sequence { budget, ..Sequence::new(steps) }.run_in_order().await
/// # }
/// ```
#[derive(Clone)]
pub struct Sequence {
    /// The chats.
    pub steps: Vec<Step>,
    /// What all of them together may spend; each may have a budget of its own besides. Time counts from the beginning of the
    /// first one. Default: no limit.
    pub budget: Budget,
    /// Ends those that are going on; those that have not begun end at their first message.
    pub cancel: CancellationToken,
    /// Who follows all of them. Who follows one is told of it too. Default: nobody.
    pub events: Option<EventSink>,
}

/// One chat of several.
#[derive(Clone)]
pub struct Step {
    /// The chat. What its `carryover` has comes before what earlier chats came to.
    pub chat: Chat,
    /// How it begins.
    pub opening: Opening,
    /// Places of the chats that must be over before it begins.
    pub after: Vec<usize>,
    /// Places of chats whose summaries it does not bring along. Default: none.
    pub without: Vec<usize>,
}

impl Step {
    /// A chat with nothing before it.
    pub fn new(chat: Chat, opening: impl Into<Opening>) -> Self {
        Self { chat, opening: opening.into(), after: Vec::new(), without: Vec::new() }
    }
}

/// Runs chats that share nothing one after the other: [`Sequence::run_in_order`].
///
/// # Errors
/// Those of [`Sequence::run_in_order`].
pub async fn run_in_order(steps: Vec<Step>) -> Result<Vec<ChatResult>> {
    Sequence::new(steps).run_in_order().await
}

/// Runs chats that share nothing at once: [`Sequence::run_as_ready`].
///
/// # Errors
/// Those of [`Sequence::run_as_ready`].
pub async fn run_as_ready(steps: Vec<Step>) -> Result<Vec<Option<ChatResult>>> {
    Sequence::new(steps).run_as_ready().await
}

impl Sequence {
    /// Chats that share no budget, and that nobody follows.
    pub fn new(steps: Vec<Step>) -> Self {
        Self { steps, budget: Budget::default(), cancel: CancellationToken::new(), events: None }
    }

    /// Runs the chats one after the other; each brings along the summaries of all before.
    ///
    /// A chat that is stopped or fails ends the sequence: its result is the last one.
    ///
    /// # Errors
    /// [`Error::Invalid`] and [`Error::Log`] when one of the chats cannot begin. All are looked at before the first one begins:
    /// nothing has been said then. What goes wrong later is in the results.
    pub async fn run_in_order(&self) -> Result<Vec<ChatResult>> {
        let whole = self.whole()?;
        let mut results: Vec<Option<ChatResult>> = Vec::with_capacity(self.steps.len());
        for step in &self.steps {
            let before: Vec<usize> = (0..results.len()).collect();
            let result = run_step(step, &before, &results, &whole).await;
            let goes_on = result.stop.is_success();
            results.push(Some(result));
            if !goes_on {
                break;
            }
        }
        Ok(results.into_iter().flatten().collect())
    }

    /// Runs the chats at once, each as soon as those in its [`after`](Step::after) are over, whose summaries it brings along.
    /// The results are in the order of the steps; a chat is `None` when one that it needs did not come to its end.
    ///
    /// # Errors
    /// Those of [`run_in_order`](Self::run_in_order), and [`Error::Invalid`] when chats wait for each other or for one that is
    /// not there.
    pub async fn run_as_ready(&self) -> Result<Vec<Option<ChatResult>>> {
        check_order(&self.steps)?;
        let whole = self.whole()?;
        let mut waiting: Vec<Option<&Step>> = self.steps.iter().map(Some).collect();
        let mut results: Vec<Option<ChatResult>> = waiting.iter().map(|_| None).collect();
        let mut running = FuturesUnordered::new();
        loop {
            for (place, waits) in waiting.iter_mut().enumerate() {
                let is_over = |needed: &usize| {
                    results[*needed].as_ref().is_some_and(|result| result.stop.is_success())
                };
                if let Some(step) = waits.take_if(|step| step.after.iter().all(is_over)) {
                    let (chat, whole) = (with_summaries(step, &step.after, &results), &whole);
                    running
                        .push(async move { (place, run_chat(&chat, &step.opening, whole).await) });
                }
            }
            let Some((place, result)) = running.next().await else { return Ok(results) };
            results[place] = Some(result);
        }
    }

    /// What the chats share, if each of them makes sense.
    fn whole(&self) -> Result<Context> {
        self.budget.check()?;
        for (place, step) in self.steps.iter().enumerate() {
            let in_step = |error: Error| match error {
                Error::Invalid(why) => Error::Invalid(format!("chat {place}: {why}")),
                other => other,
            };
            step.chat.check(&step.opening).map_err(in_step)?;
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
            crate::chat::can_be_made(log)?;
        }
        let id = uuid::Uuid::new_v4().to_string().into();
        Ok(Context::new(
            id,
            self.cancel.clone(),
            self.events.clone(),
            self.budget.clone(),
            Default::default(),
        ))
    }
}

async fn run_step(
    step: &Step,
    before: &[usize],
    finished: &[Option<ChatResult>],
    whole: &Context,
) -> ChatResult {
    run_chat(&with_summaries(step, before, finished), &step.opening, whole).await
}

/// Runs a chat. What keeps it from beginning, after all was looked at, is its result: those of the others are kept.
async fn run_chat(chat: &Chat, opening: &Opening, whole: &Context) -> ChatResult {
    let result = chat.run_as_part(whole, opening.clone()).await;
    result.unwrap_or_else(|error| ChatResult::not_begun(chat, &error))
}

/// The chat of a step with what it brings along.
fn with_summaries(step: &Step, before: &[usize], finished: &[Option<ChatResult>]) -> Chat {
    let mut chat = step.chat.clone();
    let brings = before.iter().filter(|place| !step.without.contains(place));
    let summaries =
        brings.filter_map(|place| finished[*place].as_ref()).map(|result| result.summary.clone());
    chat.carryover.extend(summaries);
    chat
}

/// Whether all can begin at some time.
fn check_order(steps: &[Step]) -> Result<()> {
    let mut over = vec![false; steps.len()];
    for (place, step) in steps.iter().enumerate() {
        if let Some(missing) = step.after.iter().find(|needed| **needed >= steps.len()) {
            return Err(Error::Invalid(format!(
                "chat {place} waits for chat {missing}, and there are {}",
                steps.len()
            )));
        }
    }
    while let Some(place) = (0..steps.len())
        .find(|place| !over[*place] && steps[*place].after.iter().all(|needed| over[*needed]))
    {
        over[place] = true;
    }
    match over.iter().position(|over| !over) {
        None => Ok(()),
        Some(place) => {
            Err(Error::Invalid(format!("chat {place} waits for chats that wait for it")))
        }
    }
}
