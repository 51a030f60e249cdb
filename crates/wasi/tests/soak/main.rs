//! A hundred thousand fresh executions in one process leave nothing behind: no memory, no
//! descriptor, no thread.
//!
//! This is a binary of its own, so that no other test's memory is counted.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::{fs, sync::Arc};

use cellblock_exec::{ExecutionRequest, Executor, SessionSpec, Silent};
use cellblock_wasi::{ImageStore, Options, WasiExecutor};

const EXECUTIONS: usize = 100_000;
const TASKS: usize = 2;

/// The resources of this process.
#[derive(Debug, Clone, Copy)]
struct ProcessUsage {
    private_kib: u64,
    descriptors: usize,
    threads: usize,
    mappings: usize,
}

fn process_usage() -> ProcessUsage {
    let rollup = fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let private = rollup
        .lines()
        .filter(|line| line.starts_with("Private_Dirty:"))
        .filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok())
        .sum();
    ProcessUsage {
        private_kib: private,
        descriptors: fs::read_dir("/proc/self/fd").unwrap().count(),
        threads: fs::read_dir("/proc/self/task").unwrap().count(),
        mappings: fs::read_to_string("/proc/self/maps").unwrap().lines().count(),
    }
}

async fn execute(executor: &WasiExecutor, number: usize) {
    let mut session = executor.open(SessionSpec::default()).await.unwrap();
    // Some of them write files, raise, crash, or write more memory than a reset copies back.
    let code = match number % 1000 {
        number if number % 10 == 7 => "open('file.txt', 'w').write('x' * 10_000)",
        23 => "raise ValueError('no')",
        42 => "import os; os._exit(1)",
        61 => "numbers = list(range(500_000))",
        999 => "import numpy; numpy.ones(20_000_000).sum()",
        _ => "print('hi')",
    };
    session.execute(ExecutionRequest::python(code)).await.unwrap();
    session.close().await.unwrap();
}

async fn executions(executor: &Arc<WasiExecutor>, count: usize) {
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..TASKS {
        let executor = executor.clone();
        tasks.spawn(async move {
            for number in 0..count / TASKS {
                execute(&executor, number).await;
            }
        });
    }
    tasks.join_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_executions_leave_nothing() {
    let store = ImageStore::in_user_cache().unwrap();
    let executor = Arc::new(WasiExecutor::start(store, Options::default(), &Silent).await.unwrap());
    // First fills the pools and the caches of allocators.
    executions(&executor, EXECUTIONS / 10).await;
    let before = process_usage();
    executions(&executor, EXECUTIONS).await;
    let after = process_usage();
    println!("before: {before:?}\nafter:  {after:?}");
    assert!(after.private_kib < before.private_kib + 16 * 1024, "{before:?} {after:?}");
    assert!(after.descriptors <= before.descriptors + 2, "{before:?} {after:?}");
    assert!(after.threads <= before.threads + 1, "{before:?} {after:?}");
    assert!(after.mappings <= before.mappings + 50, "{before:?} {after:?}");
}
