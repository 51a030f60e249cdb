//! How long cells take on this machine, beside the bare interpreter: `cargo run --release -p cellblock-local --example figures`.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use cellblock_exec::{ExecutionRequest, Executor, Isolation, SessionSpec};
use cellblock_local::{LocalExecutor, Options};

const ROUNDS: usize = 40;

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    for isolation in [Isolation::Namespaces, Isolation::Landlock, Isolation::None] {
        let begin = Instant::now();
        let executor =
            LocalExecutor::start(Options { isolation: Some(isolation), ..Options::default() })
                .await
                .unwrap();
        let started = begin.elapsed();
        let python = executor.python().program.clone();
        let (mut bare, mut open, mut first, mut later, mut close) =
            (vec![], vec![], vec![], vec![], vec![]);
        for _ in 0..ROUNDS {
            let begin = Instant::now();
            Command::new(&python).args(["-c", "pass"]).stdin(Stdio::null()).status().unwrap();
            bare.push(begin.elapsed());

            let begin = Instant::now();
            let mut session = executor.open(SessionSpec::default()).await.unwrap();
            open.push(begin.elapsed());
            session.execute(ExecutionRequest::python("print(1)")).await.unwrap();
            first.push(begin.elapsed());
            for _ in 0..20 {
                let begin = Instant::now();
                session.execute(ExecutionRequest::python("print(1)")).await.unwrap();
                later.push(begin.elapsed());
            }
            let begin = Instant::now();
            session.close().await.unwrap();
            close.push(begin.elapsed());
        }
        println!(
            "{isolation}: executor {started:?}; bare python {:?}, open {:?}, open and first block {:?}, later block {:?}, close {:?}",
            median(bare),
            median(open),
            median(first),
            median(later),
            median(close)
        );
    }
}
