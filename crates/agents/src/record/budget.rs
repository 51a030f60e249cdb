//! The limits on what a chat spends, and the count of what it has spent.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::cost::Cost;
use crate::{
    error::{Error, Result},
    model::Completion,
};

/// The maximum that a chat may spend, including the chats below it. Default: no limit.
///
/// A chat that reaches a limit ends with [`StopReason::Budget`](crate::StopReason::Budget) and
/// keeps its partial results.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Budget {
    /// US dollars, without cached answers. Checked before each model call, so one call can exceed
    /// it.
    pub cost: Option<f64>,
    /// Tokens read and written, without cached answers. Checked before each model call.
    pub tokens: Option<u64>,
    /// Wall-clock time, including the time that people take. Running work is stopped when it is
    /// over. Seconds in JSON and TOML.
    #[serde(with = "seconds")]
    pub time: Option<Duration>,
}

impl Budget {
    /// Checks that the cost is a number of dollars.
    pub(crate) fn check(&self) -> Result<()> {
        match self.cost.filter(|cost| !cost.is_finite() || *cost < 0.0) {
            Some(cost) => Err(Error::Invalid(format!("invalid budget: `{cost}` dollars"))),
            None => Ok(()),
        }
    }
}

/// The limit of a budget that was reached.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "snake_case")]
pub enum BudgetExhausted {
    /// Money.
    Cost {
        /// The limit, in US dollars.
        limit: f64,
        /// The dollars spent.
        spent: f64,
    },
    /// Tokens.
    Tokens {
        /// The limit.
        limit: u64,
        /// The tokens used.
        spent: u64,
    },
    /// Time.
    Time {
        /// The limit, in seconds.
        limit: f64,
    },
}

impl fmt::Display for BudgetExhausted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BudgetExhausted::Cost { limit, spent } => {
                write!(f, "the budget of ${limit} is spent (${spent:.4})")
            }
            BudgetExhausted::Tokens { limit, spent } => {
                write!(f, "the budget of {limit} tokens is spent ({spent})")
            }
            BudgetExhausted::Time { limit } => write!(f, "the time limit of {limit} s is reached"),
        }
    }
}

/// Counts what a chat spends, here and in the ledger of the chat above.
#[derive(Debug)]
pub struct Ledger {
    budget: Budget,
    deadline: Option<Instant>,
    cost: Mutex<Cost>,
    above: Option<Arc<Ledger>>,
}

impl Ledger {
    /// Creates a ledger that starts with an earlier cost, which a resumed chat has.
    pub fn new(budget: Budget, spent: Cost, above: Option<Arc<Ledger>>) -> Self {
        let deadline = budget.time.and_then(|time| Instant::now().checked_add(time));
        Self { budget, deadline, cost: Mutex::new(spent), above }
    }

    pub fn add(&self, completion: &Completion) {
        self.cost.lock().add(completion);
        if let Some(above) = &self.above {
            above.add(completion);
        }
    }

    pub fn cost(&self) -> Cost {
        self.cost.lock().clone()
    }

    /// The earliest deadline, here or above, with the time that led to it.
    pub fn deadline(&self) -> Option<(Instant, Duration)> {
        let above = self.above.as_ref().and_then(|above| above.deadline());
        self.deadline.zip(self.budget.time).into_iter().chain(above).min()
    }

    /// The limit that was reached, here or above.
    pub fn exhausted(&self) -> Option<BudgetExhausted> {
        if let (Some(limit), Some(deadline)) = (self.budget.time, self.deadline)
            && Instant::now() >= deadline
        {
            return Some(BudgetExhausted::Time { limit: limit.as_secs_f64() });
        }
        if self.budget.cost.is_some() || self.budget.tokens.is_some() {
            let cost = self.cost.lock();
            let (spent, tokens) =
                (cost.excluding_cached.total_cost, cost.excluding_cached.tokens());
            if let Some(limit) = self.budget.cost.filter(|limit| spent >= *limit) {
                return Some(BudgetExhausted::Cost { limit, spent });
            }
            if let Some(limit) = self.budget.tokens.filter(|limit| tokens >= *limit) {
                return Some(BudgetExhausted::Tokens { limit, spent: tokens });
            }
        }
        self.above.as_ref().and_then(|above| above.exhausted())
    }
}

mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    pub fn serialize<S: Serializer>(
        time: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        time.map(|time| time.as_secs_f64()).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        let seconds = Option::<f64>::deserialize(deserializer)?;
        seconds
            .map(|seconds| Duration::try_from_secs_f64(seconds).map_err(D::Error::custom))
            .transpose()
    }
}
