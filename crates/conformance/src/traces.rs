//! Traces on the host: a program carries a [`marker`] among its arguments, and a test looks for
//! processes with it. Tests of backends use this module, too.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Returns a text that occurs nowhere else on this machine, to look for.
pub fn marker() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("cellblock-marker-{}-{now}-{number}", std::process::id())
}

/// Counts the host's processes with this text among their arguments.
pub fn processes_with(text: &str) -> usize {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|process| std::fs::read(process.path().join("cmdline")).ok())
        .filter(|arguments| String::from_utf8_lossy(arguments).contains(text))
        .count()
}

/// Asserts that `holds` becomes true within five seconds: cleaning up may happen after the call
/// returns.
pub async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(5), "not within five seconds: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
