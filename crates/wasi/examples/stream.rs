//! Receiving output while it arrives, and stopping a program early.
//!
//! `cargo run --release -p cellblock-wasi --example stream`
#![allow(clippy::print_stdout)] // An example prints its results.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use cellblock_exec::{
    CancellationToken, ExecutionRequest, Executor as _, Outcome, Result, SessionSpec, Silent,
    Stream,
};
use cellblock_wasi::{ImageStore, Options, WasiExecutor};

const CODE: &str = "
import sys, time
for second in range(10):
    print('working', second)
    if second == 1:
        print('slowly', file=sys.stderr)
    time.sleep(0.5)
";

#[tokio::main]
async fn main() -> Result<()> {
    let executor =
        WasiExecutor::start(ImageStore::in_user_cache()?, Options::default(), &Silent).await?;
    let mut session = executor.open(SessionSpec::default()).await?;

    // The sink is called on the thread that runs the guest, so it only forwards the bytes: each
    // piece as the program wrote it, not line by line.
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let sink = Arc::new(move |stream: Stream, bytes: &[u8]| {
        let _ = sender.send((stream, bytes.to_vec()));
    });
    let start = Instant::now();
    let reader = tokio::spawn(async move {
        while let Some((stream, bytes)) = receiver.recv().await {
            let text = String::from_utf8_lossy(&bytes);
            println!("{:4} ms {stream:?} {text:?}", start.elapsed().as_millis());
        }
    });

    // The user cancels. Any thread can cancel the token; that stops a sleeping guest, too.
    let cancel = CancellationToken::new();
    let impatient = cancel.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(1200)).await;
        impatient.cancel();
    });

    let request = ExecutionRequest { sink: Some(sink), cancel, ..ExecutionRequest::python(CODE) };
    let result = session.execute(request).await?;
    assert_eq!(result.outcome, Outcome::Cancelled);
    println!("{:4} ms {:?}", start.elapsed().as_millis(), result.outcome);

    // The result has the output so far, too. The sink is dropped, so the reader ends.
    println!("kept: {:?}", result.stdout.text());
    let _ = reader.await;

    // Dropping a call's future stops the program, too; here tokio's timeout does it.
    let sleep = session.execute(ExecutionRequest::python("import time; time.sleep(60)"));
    println!("in time: {}", tokio::time::timeout(Duration::from_millis(100), sleep).await.is_ok());
    session.close().await
}
