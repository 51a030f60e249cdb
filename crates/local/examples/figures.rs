//! Prints how long cells take on this machine, beside the bare interpreter:
//! `cargo run --release -p cellblock-local --example figures`.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use cellblock_exec::{ExecutionRequest, Executor, Isolation, SessionSpec};
use cellblock_local::{LocalExecutor, Options};

const ROUNDS: usize = 40;

/// The durations of one kind of step.
#[derive(Default)]
struct Durations(Vec<Duration>);

impl Durations {
    fn add_since(&mut self, begin: Instant) {
        self.0.push(begin.elapsed());
    }

    fn median(mut self) -> Duration {
        self.0.sort();
        self.0[self.0.len() / 2]
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    for isolation in [Isolation::Namespaces, Isolation::Landlock, Isolation::None] {
        measure(isolation).await;
    }
}

async fn measure(isolation: Isolation) {
    let begin = Instant::now();
    let options = Options { isolation: Some(isolation), ..Options::default() };
    let executor = LocalExecutor::start(options).await.unwrap();
    let started = begin.elapsed();
    let python = executor.python().program.clone();
    let [mut bare, mut open, mut first, mut later, mut close] =
        [(); 5].map(|()| Durations::default());
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        Command::new(&python).args(["-c", "pass"]).stdin(Stdio::null()).status().unwrap();
        bare.add_since(begin);

        let begin = Instant::now();
        let mut session = executor.open(SessionSpec::default()).await.unwrap();
        open.add_since(begin);
        session.execute(ExecutionRequest::python("print(1)")).await.unwrap();
        first.add_since(begin);
        for _ in 0..20 {
            let begin = Instant::now();
            session.execute(ExecutionRequest::python("print(1)")).await.unwrap();
            later.add_since(begin);
        }
        let begin = Instant::now();
        session.close().await.unwrap();
        close.add_since(begin);
    }
    println!(
        "{isolation}: executor {started:?}; bare python {:?}, open {:?}, open and first block \
         {:?}, later block {:?}, close {:?}",
        bare.median(),
        open.median(),
        first.median(),
        later.median(),
        close.median()
    );
}
