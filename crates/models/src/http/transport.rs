//! How patient a client is: bounds on time, size and repetition, as data.

use std::{num::NonZeroU32, time::Duration};

use tokio::time::Instant;

/// The bounds of the calls over one [`Connection`](super::Connection).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transport {
    /// The longest that making a connection may take. Default: 10 seconds.
    pub connect_timeout: Duration,
    /// The longest that a whole call may take, attempts and the waiting between them included; only its first turn under
    /// [`requests_per_minute`](Self::requests_per_minute) is waited for beyond it. Default: 10 minutes.
    pub timeout: Duration,
    /// The longest silence inside an answer that has begun. Default: 2 minutes.
    ///
    /// Before an answer begins there is only [`timeout`](Self::timeout): a server may load a model or think, and one that
    /// does not stream is silent until the answer is whole.
    pub silence: Duration,
    /// How often a call is tried again after it failed for a reason that may pass. Default: 3.
    pub retries: u32,
    /// About how long is waited before the second attempt; it doubles with each one. Default: half a second.
    pub first_delay: Duration,
    /// The longest wait before an attempt. A provider that asks for a longer one (`Retry-After`) is believed, and the call
    /// fails at once with what it said. Default: 1 minute.
    pub longest_delay: Duration,
    /// The most attempts begun in a minute, spread evenly; `None` for no limit, which is the default.
    pub requests_per_minute: Option<NonZeroU32>,
    /// The most bytes of an answer that are read; longer ones are refused. Default: 64 MiB.
    pub max_answer_bytes: usize,
}

impl Default for Transport {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            timeout: Duration::from_secs(600),
            silence: Duration::from_secs(120),
            retries: 3,
            first_delay: Duration::from_millis(500),
            longest_delay: Duration::from_secs(60),
            requests_per_minute: None,
            max_answer_bytes: 64 << 20,
        }
    }
}

/// The moment after a time from now; for times that no clock can hold, one that nobody lives to see.
pub(super) fn from_now(wait: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(wait).unwrap_or_else(|| now + Duration::from_secs(100 * 365 * 24 * 60 * 60))
}
