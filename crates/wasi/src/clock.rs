//! The guest's clocks.

use std::{
    sync::OnceLock,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

/// The time of day, in nanoseconds since the epoch.
pub(crate) fn realtime() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos() as u64)
}

/// A clock that never goes back, in nanoseconds.
///
/// It starts at the time of day at which the process first asked, so that a session that was frozen does not see it go
/// back when another process resumes it.
pub(crate) fn monotonic() -> u64 {
    static START: OnceLock<(u64, Instant)> = OnceLock::new();
    let (origin, start) = START.get_or_init(|| (realtime(), Instant::now()));
    origin + start.elapsed().as_nanos() as u64
}
