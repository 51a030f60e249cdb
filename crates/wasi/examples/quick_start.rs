//! One session: files in, limits, state between blocks, output and artifacts out.
//!
//! `cargo run --release -p cellblock-wasi --example quick_start`
#![allow(clippy::print_stdout)] // An example prints its results.

use std::{sync::Arc, time::Duration};

use cellblock_exec::{
    ExecutionRequest, Executor as _, InputFile, Limit, Limits, Outcome, Result, SessionSpec, Silent,
};
use cellblock_wasi::{ImageStore, Options, WasiExecutor};

const CITIES: &str = "city,degrees\nOslo,4\nRome,15\nCairo,24\n";

#[tokio::main]
async fn main() -> Result<()> {
    // The first start downloads and compiles the image, which takes minutes. Later starts take
    // milliseconds.
    let executor =
        WasiExecutor::start(ImageStore::in_user_cache()?, Options::default(), &Silent).await?;

    let mut session = executor
        .open(SessionSpec {
            limits: Limits {
                wall: Duration::from_secs(10),
                memory: 512 * 1024 * 1024,
                ..Limits::default()
            },
            files: vec![InputFile { path: "cities.csv".into(), content: Arc::new(CITIES.into()) }],
            ..SessionSpec::default()
        })
        .await?;

    // As in a notebook, the value of a last expression is shown.
    let code = "import pandas as pd\ncities = pd.read_csv('cities.csv')\ncities.degrees.mean()";
    let result = session.execute(ExecutionRequest::python(code)).await?;
    println!("{}", result.stdout.text().trim_end());

    // The next block has the variables of the one before. A figure that is shown becomes an
    // artifact.
    let code = "import matplotlib.pyplot as plt\nplt.bar(cities.city, cities.degrees)\nplt.show()";
    let result = session.execute(ExecutionRequest::python(code)).await?;
    for artifact in &result.artifacts {
        println!("{} ({}, {} bytes)", artifact.path, artifact.media_type, artifact.bytes);
    }

    // A program that fails is an `Ok` with an outcome. `Err` means that the sandbox failed.
    let result = session.execute(ExecutionRequest::python("cities.rainfall")).await?;
    let stderr = result.stderr.text();
    println!("{:?}: {}", result.outcome, stderr.lines().last().unwrap_or_default());

    // A block can have less time than the session's limit.
    let wall = Some(Duration::from_millis(200));
    let result = session
        .execute(ExecutionRequest { wall, ..ExecutionRequest::python("while True: pass") })
        .await?;
    assert_eq!(result.outcome, Outcome::LimitExceeded { limit: Limit::Wall });
    println!(
        "{:?} after {} ms; variables lost: {}",
        result.outcome,
        result.usage.wall.as_millis(),
        result.state_lost
    );

    // The session continues with a fresh interpreter and the files of its workspace.
    let code = "import os\nos.listdir(), 'cities' in globals()";
    let result = session.execute(ExecutionRequest::python(code)).await?;
    println!("{}", result.stdout.text().trim_end());

    session.close().await
}
