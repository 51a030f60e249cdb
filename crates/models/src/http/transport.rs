//! The bounds of calls on time, size and retries, as data.

use std::{num::NonZeroU32, time::Duration};

use tokio::time::Instant;

/// The bounds of the calls over one [`Connection`](super::Connection).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transport {
    /// The maximum time to connect. Default: 10 seconds.
    pub connect_timeout: Duration,
    /// The maximum time of a whole call, with all attempts and the waits between them. It begins
    /// after the first wait for [`requests_per_minute`](Self::requests_per_minute).
    /// Default: 10 minutes.
    pub timeout: Duration,
    /// The maximum time without data after an answer has begun. Default: 2 minutes.
    ///
    /// Before an answer begins, only [`timeout`](Self::timeout) applies: a server may load a model
    /// or think, and one that does not stream is silent until the answer is complete.
    pub idle_timeout: Duration,
    /// The maximum number of retries after failures that may be transient. Default: 3.
    pub retries: u32,
    /// The approximate wait before the second attempt; it doubles with each further one.
    /// Default: half a second.
    pub first_delay: Duration,
    /// The maximum wait before an attempt. If a provider asks for a longer one (`Retry-After`),
    /// the call fails at once with the provider's error. Default: 1 minute.
    pub max_delay: Duration,
    /// The maximum number of attempts in a minute, spread evenly. Default: `None`, no limit.
    pub requests_per_minute: Option<NonZeroU32>,
    /// The maximum size of an answer in bytes; larger ones are refused. Default: 64 MiB.
    pub max_answer_bytes: usize,
}

impl Default for Transport {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            timeout: Duration::from_secs(600),
            idle_timeout: Duration::from_secs(120),
            retries: 3,
            first_delay: Duration::from_millis(500),
            max_delay: Duration::from_secs(60),
            requests_per_minute: None,
            max_answer_bytes: 64 << 20,
        }
    }
}

/// Returns the instant after a wait from now. A wait that the clock cannot represent becomes a
/// hundred years.
pub fn from_now(wait: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(wait).unwrap_or_else(|| now + Duration::from_secs(100 * 365 * 24 * 60 * 60))
}
