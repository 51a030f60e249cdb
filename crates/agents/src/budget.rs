//! What a chat may spend, and what it has spent.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use crate::{
    cost::Cost,
    error::{Error, Result},
    model::Completion,
};

/// The most that a chat may spend, everything below it included. The default is no limit. A chat that reaches a limit ends
/// with [`StopReason::Budget`](crate::chat::StopReason::Budget) and keeps what it has.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Budget {
    /// US dollars really spent. It is checked before each model call: one call can exceed it.
    pub cost: Option<f64>,
    /// Tokens read and written, those of cached answers left out. It is checked before each model call.
    pub tokens: Option<u64>,
    /// Time on the clock, people's time included. What runs when it is over is ended. In seconds in JSON and TOML.
    #[serde(with = "seconds")]
    pub time: Option<Duration>,
}

impl Budget {
    /// Refuses what makes no sense.
    pub(crate) fn check(&self) -> Result<()> {
        match self.cost.filter(|cost| !cost.is_finite() || *cost < 0.0) {
            Some(cost) => Err(Error::Invalid(format!("a budget of ${cost} makes no sense"))),
            None => Ok(()),
        }
    }
}

/// What of a budget was used up.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "snake_case")]
pub enum Spent {
    /// Money.
    Cost {
        /// The limit, in US dollars.
        limit: f64,
        /// What was spent.
        spent: f64,
    },
    /// Tokens.
    Tokens {
        /// The limit.
        limit: u64,
        /// What was spent.
        spent: u64,
    },
    /// Time.
    Time {
        /// The limit, in seconds.
        limit: f64,
    },
}

impl fmt::Display for Spent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Spent::Cost { limit, spent } => {
                write!(f, "the budget of ${limit} is spent (${spent:.4})")
            }
            Spent::Tokens { limit, spent } => {
                write!(f, "the budget of {limit} tokens is spent ({spent})")
            }
            Spent::Time { limit } => write!(f, "the time of {limit} s is over"),
        }
    }
}

/// Counts what a chat spends, and tells the chat above.
#[derive(Debug)]
pub(crate) struct Ledger {
    budget: Budget,
    deadline: Option<Instant>,
    cost: Mutex<Cost>,
    above: Option<Arc<Ledger>>,
}

impl Ledger {
    /// A ledger that starts with what was spent before, as in a chat that is resumed.
    pub(crate) fn new(budget: Budget, spent: Cost, above: Option<Arc<Ledger>>) -> Self {
        let deadline = budget.time.and_then(|time| Instant::now().checked_add(time));
        Self { budget, deadline, cost: Mutex::new(spent), above }
    }

    pub(crate) fn add(&self, completion: &Completion) {
        self.cost.lock().unwrap_or_else(PoisonError::into_inner).add(completion);
        if let Some(above) = &self.above {
            above.add(completion);
        }
    }

    pub(crate) fn cost(&self) -> Cost {
        self.cost.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// When the time of this chat or of one above is over, and how long that time is.
    pub(crate) fn deadline(&self) -> Option<(Instant, Duration)> {
        let above = self.above.as_ref().and_then(|above| above.deadline());
        self.deadline.zip(self.budget.time).into_iter().chain(above).min()
    }

    /// What is used up, here or above.
    pub(crate) fn spent(&self) -> Option<Spent> {
        if let (Some(limit), Some(deadline)) = (self.budget.time, self.deadline)
            && Instant::now() >= deadline
        {
            return Some(Spent::Time { limit: limit.as_secs_f64() });
        }
        if self.budget.cost.is_some() || self.budget.tokens.is_some() {
            let cost = self.cost.lock().unwrap_or_else(PoisonError::into_inner);
            let (spent, tokens) =
                (cost.excluding_cached.total_cost, cost.excluding_cached.tokens());
            if let Some(limit) = self.budget.cost.filter(|limit| spent >= *limit) {
                return Some(Spent::Cost { limit, spent });
            }
            if let Some(limit) = self.budget.tokens.filter(|limit| tokens >= *limit) {
                return Some(Spent::Tokens { limit, spent: tokens });
            }
        }
        self.above.as_ref().and_then(|above| above.spent())
    }
}

mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(
        time: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        time.map(|time| time.as_secs_f64()).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        let seconds = Option::<f64>::deserialize(deserializer)?;
        seconds
            .map(|seconds| Duration::try_from_secs_f64(seconds).map_err(D::Error::custom))
            .transpose()
    }
}
