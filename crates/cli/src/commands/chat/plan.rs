//! The plan of a chat: one chat or a sequence, with the bounds of the command line.

use anyhow::Result;
use cellblock_agents::{
    Budget, Chat, ChatResult, EventSink, Opening,
    sequence::{Sequence, Step},
};
use tokio_util::sync::CancellationToken;

use crate::{args::chat::BoundArgs, failure::usage};

/// The chats to run.
pub enum Plan {
    /// One chat, with its first message.
    Chat(Box<Chat>, Opening),
    /// Several chats, each after those that it waits for.
    Sequence {
        steps: Vec<Step>,
        /// True if each waits for all before it.
        in_order: bool,
    },
}

/// The results of a plan.
pub struct PlanResults {
    /// The results of the chats that ran.
    pub results: Vec<ChatResult>,
    /// Number of chats that did not run because an earlier one failed or was stopped.
    pub not_run: usize,
}

impl Plan {
    /// Returns the chats, in order.
    pub fn chats(&self) -> Vec<&Chat> {
        match self {
            Plan::Chat(chat, _) => vec![chat],
            Plan::Sequence { steps, .. } => steps.iter().map(|step| &step.chat).collect(),
        }
    }

    /// True if the command line or a chat limits the cost.
    pub fn limits_cost(&self, bounds: &BoundArgs) -> bool {
        bounds.budget.is_some() || self.chats().iter().any(|chat| chat.budget.cost.is_some())
    }

    /// Applies the options of the command line, which override a file. A budget of the command line
    /// for a sequence is applied when it runs: all chats share it.
    ///
    /// # Errors
    /// If a sequence is to be saved.
    pub fn apply(&mut self, bounds: &BoundArgs) -> Result<()> {
        match self {
            Plan::Chat(chat, _) => {
                apply_budget(&mut chat.budget, bounds);
                chat.max_turns = bounds.max_turns.or(chat.max_turns);
                chat.log = bounds.resume.clone().or_else(|| bounds.save.clone());
            }
            Plan::Sequence { steps, .. } => {
                if bounds.save.is_some() || bounds.resume.is_some() {
                    return Err(usage(
                        "a sequence of chats cannot be saved",
                        "remove --save or --resume, or describe one chat: [chat] instead of \
                         [[sequence]]",
                    ));
                }
                for step in steps {
                    step.chat.max_turns = bounds.max_turns.or(step.chat.max_turns);
                }
            }
        }
        Ok(())
    }

    /// Runs the chats.
    ///
    /// # Errors
    /// If a chat cannot start. Later failures are in the results.
    pub async fn run(
        self,
        bounds: &BoundArgs,
        events: EventSink,
        cancel: &CancellationToken,
    ) -> Result<PlanResults> {
        match self {
            Plan::Chat(chat, opening) => {
                let chat = Chat { cancel: cancel.clone(), events: Some(events), ..*chat };
                let result = match bounds.resume {
                    Some(_) => chat.resume().await?,
                    None => chat.run(opening).await?,
                };
                Ok(PlanResults { results: vec![result], not_run: 0 })
            }
            Plan::Sequence { steps, in_order } => {
                let all = steps.len();
                let (cancel, events) = (cancel.clone(), Some(events));
                let mut sequence = Sequence { cancel, events, ..Sequence::new(steps) };
                apply_budget(&mut sequence.budget, bounds);
                let results: Vec<_> = match in_order {
                    true => sequence.run_in_order().await?,
                    false => sequence.run_as_ready().await?.into_iter().flatten().collect(),
                };
                let not_run = all - results.len();
                Ok(PlanResults { results, not_run })
            }
        }
    }
}

fn apply_budget(budget: &mut Budget, bounds: &BoundArgs) {
    budget.cost = bounds.budget.or(budget.cost);
    budget.tokens = bounds.max_total_tokens.or(budget.tokens);
    budget.time = bounds.max_time.or(budget.time);
}
