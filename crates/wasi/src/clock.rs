//! The guest's clocks.

use std::{
    sync::OnceLock,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

/// Returns the time of day, in nanoseconds since the epoch.
pub fn realtime() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos() as u64)
}

/// Returns the time of a clock that never goes back, in nanoseconds.
///
/// It starts at the time of day at which the process first reads it, so that it does not go back
/// for a frozen session that another process resumes.
pub fn monotonic() -> u64 {
    static START: OnceLock<(u64, Instant)> = OnceLock::new();
    let (origin, start) = START.get_or_init(|| (realtime(), Instant::now()));
    origin + start.elapsed().as_nanos() as u64
}
