//! Continuing from one state more than once: fork in memory, freeze to disk, resume.
//!
//! `cargo run --release -p cellblock-wasi --example fork`
#![allow(clippy::print_stdout)] // An example prints its results.

use std::time::Instant;

use cellblock_exec::{ExecutionRequest, Executor as _, Limits, Session, SessionSpec, Silent};
use cellblock_wasi::{ImageStore, Options, WasiExecutor};

/// Runs Python; returns its output.
async fn say(session: &mut Box<dyn Session>, code: &str) -> cellblock_exec::Result<String> {
    let result = session.execute(ExecutionRequest::python(code)).await?;
    Ok(result.stdout.text().trim_end().to_owned())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let executor =
        WasiExecutor::start(ImageStore::in_user_cache()?, Options::default(), &Silent).await?;
    let mut session = executor.open(SessionSpec::default()).await?;

    // Work that should not be repeated: a table of 100 MB.
    let code = "import numpy as np, pandas as pd\n\
                table = pd.DataFrame(np.random.rand(125_000, 100))\ntable.shape";
    println!("made {}", say(&mut session, code).await?);

    // A fork has the objects, files and open descriptors of the session, but not its later changes.
    // After many writes, the first fork freezes the state in memory; the next ones copy on write.
    for attempt in ["table * 2", "table.rank()", "table.tail(10)"] {
        let start = Instant::now();
        let mut fork = session.fork().await?;
        let took = start.elapsed();
        let mean =
            say(&mut fork, &format!("table = {attempt}\nround(float(table.mean().mean()), 1)"))
                .await?;
        println!("forked in {took:.1?}; mean of {attempt}: {mean}");
    }
    println!("the session still has {}", say(&mut session, "table.shape").await?);

    // A frozen session can be resumed in this process or in another one with the same image. The
    // caller sets its limits again.
    let directory = tempfile::tempdir()?;
    let frozen = directory.path().join("table.frozen");
    session.freeze(&frozen).await?;
    session.close().await?;
    let start = Instant::now();
    let mut resumed = executor.resume(&frozen, Limits::default()).await?;
    println!("resumed in {:.1?}: {}", start.elapsed(), say(&mut resumed, "table.shape").await?);
    Ok(resumed.close().await?)
}
