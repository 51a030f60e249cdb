//! Many executions at once: `cargo bench -p cellblock-benches --bench scale`.
//!
//! Measures the executions per second on one core and on all, and the memory of an idle session.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)]

use std::{
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use cellblock_benches::{PRINT, executor, fresh, session, turn};
use cellblock_wasi::WasiExecutor;

const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(3);
const SESSIONS: usize = 1000;

fn main() {
    // `cargo test` and `cargo bench -- --list` start benchmarks, too.
    if std::env::args().any(|argument| argument == "--test" || argument == "--list") {
        return;
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let executor = executor().await.unwrap();
        throughput(&executor, 1).await;
        // Alternating, so that a change of the machine's speed affects both equally.
        let mut rates: Vec<(f64, f64)> = Vec::new();
        for _ in 0..ROUNDS {
            rates.push((throughput(&executor, 1).await, throughput(&executor, cores).await));
        }
        let one = median(rates.iter().map(|rate| rate.0).collect());
        let all = median(rates.iter().map(|rate| rate.1).collect());
        let ratio = median(rates.iter().map(|rate| rate.1 / rate.0).collect());
        println!(
            "fresh executions per second: one task {one:.0}, {cores} tasks {all:.0}, \
             ratio {ratio:.2} (medians)"
        );
        let (opened, private) = idle_sessions(&executor).await;
        println!(
            "idle session after one turn: {private:.2} MB private, opened and run in \
             {opened:.3} ms ({SESSIONS} open)"
        );
    });
}

/// Returns the fresh executions per second with this number of tasks.
async fn throughput(executor: &Arc<WasiExecutor>, tasks: usize) -> f64 {
    let started = Instant::now();
    let mut set = tokio::task::JoinSet::new();
    for _ in 0..tasks {
        let executor = executor.clone();
        set.spawn(async move {
            let mut count = 0;
            while started.elapsed() < ROUND {
                fresh(executor.as_ref(), PRINT).await.unwrap();
                count += 1;
            }
            count
        });
    }
    let counts: Vec<usize> = set.join_all().await;
    counts.iter().sum::<usize>() as f64 / started.elapsed().as_secs_f64()
}

/// Returns the time (ms) to open a session and run a block in it, and the private memory (MB) of
/// the session after that.
async fn idle_sessions(executor: &Arc<WasiExecutor>) -> (f64, f64) {
    let before = private_bytes();
    let started = Instant::now();
    let mut sessions = Vec::new();
    for _ in 0..SESSIONS {
        let mut session = session(executor.as_ref()).await.unwrap();
        turn(&mut session, PRINT).await.unwrap();
        sessions.push(session);
    }
    let opened = started.elapsed().as_secs_f64() * 1000.0 / SESSIONS as f64;
    (opened, (private_bytes() - before) / SESSIONS as f64 / 1e6)
}

/// Returns the memory that this process shares with no other, in bytes.
fn private_bytes() -> f64 {
    let rollup = fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let kib = |name| {
        let line = rollup.lines().find(|line: &&str| line.starts_with(name));
        line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok())
            .unwrap_or_default()
    };
    (kib("Private_Dirty:") + kib("Private_Clean:")) * 1024.0
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
