//! Several chats, of which later ones bring along what earlier ones came to.

use futures_util::{StreamExt as _, stream::FuturesUnordered};

use crate::{
    chat::{Chat, ChatResult, Opening},
    error::{Error, Result},
};

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

/// Runs chats one after the other; each brings along the summaries of all before.
///
/// A chat that is stopped or fails ends the sequence: its result is the last one.
///
/// # Errors
/// Those of [`Chat::run`], of the first chat that makes no sense.
pub async fn run_in_order(steps: Vec<Step>) -> Result<Vec<ChatResult>> {
    let mut results: Vec<ChatResult> = Vec::with_capacity(steps.len());
    for step in steps {
        let before: Vec<usize> = (0..results.len()).collect();
        let finished: Vec<Option<&ChatResult>> = results.iter().map(Some).collect();
        let result = run_step(step, &before, &finished).await?;
        let goes_on = result.stop.is_success();
        results.push(result);
        if !goes_on {
            break;
        }
    }
    Ok(results)
}

/// Runs chats at once, each as soon as those in its [`after`](Step::after) are over, whose summaries it brings along. The
/// results are in the order of `steps`; a chat is `None` when one that it needs did not come to its end.
///
/// # Errors
/// [`Error::Invalid`] when chats wait for each other or for one that is not there, and those of [`Chat::run`].
pub async fn run_as_ready(steps: Vec<Step>) -> Result<Vec<Option<ChatResult>>> {
    check(&steps)?;
    let mut waiting: Vec<Option<Step>> = steps.into_iter().map(Some).collect();
    let mut results: Vec<Option<ChatResult>> = waiting.iter().map(|_| None).collect();
    let mut running = FuturesUnordered::new();
    loop {
        for (place, waits) in waiting.iter_mut().enumerate() {
            let is_over = |needed: &usize| results[*needed].as_ref().is_some_and(|result| result.stop.is_success());
            if let Some(step) = waits.take_if(|step| step.after.iter().all(is_over)) {
                let finished: Vec<Option<&ChatResult>> = results.iter().map(Option::as_ref).collect();
                let before = step.after.clone();
                let ready = prepare(step, &before, &finished);
                running.push(async move { (place, ready.chat.run(ready.opening).await) });
            }
        }
        let Some((place, result)) = running.next().await else { return Ok(results) };
        results[place] = Some(result?);
    }
}

async fn run_step(step: Step, before: &[usize], finished: &[Option<&ChatResult>]) -> Result<ChatResult> {
    let step = prepare(step, before, finished);
    step.chat.run(step.opening).await
}

/// The chat with what it brings along.
fn prepare(mut step: Step, before: &[usize], finished: &[Option<&ChatResult>]) -> Step {
    let brings = before.iter().filter(|place| !step.without.contains(place));
    let summaries = brings.filter_map(|place| finished[*place]).map(|result| result.summary.clone());
    step.chat.carryover.extend(summaries);
    step
}

/// Whether all can begin at some time.
fn check(steps: &[Step]) -> Result<()> {
    let mut over = vec![false; steps.len()];
    for (place, step) in steps.iter().enumerate() {
        if let Some(missing) = step.after.iter().find(|needed| **needed >= steps.len()) {
            return Err(Error::Invalid(format!(
                "chat {place} waits for chat {missing}, and there are {}",
                steps.len()
            )));
        }
    }
    while let Some(place) =
        (0..steps.len()).find(|place| !over[*place] && steps[*place].after.iter().all(|needed| over[*needed]))
    {
        over[place] = true;
    }
    match over.iter().position(|over| !over) {
        None => Ok(()),
        Some(place) => Err(Error::Invalid(format!("chat {place} waits for chats that wait for it"))),
    }
}
