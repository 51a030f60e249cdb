//! Sessions of each executor, beside a bare interpreter and a bare container:
//! `cargo bench -p cellblock-benches --bench sessions`.
//!
//! `first` is the time from nothing to the first result: a session opens and runs `print('hi')`.
//! `later` is a block of a live session. Neither includes the close. Without a Docker engine, its
//! figures are skipped with a message.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stderr)]

use std::{
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use cellblock_benches::{PRINT, executor, native_python, session, turn};
use cellblock_docker::DockerExecutor;
use cellblock_exec::{Executor, SessionSpec, Silent};
use cellblock_local::LocalExecutor;
use criterion::{
    BenchmarkGroup, Criterion, SamplingMode, criterion_group, criterion_main, measurement::WallTime,
};
use tokio::runtime::Runtime;

/// Returns the sum of `times` times from nothing to the first result.
async fn first(executor: &dyn Executor, times: u64) -> Duration {
    let mut total = Duration::ZERO;
    for _ in 0..times {
        let started = Instant::now();
        let mut session = session(executor).await.unwrap();
        turn(&mut session, PRINT).await.unwrap();
        total += started.elapsed();
        session.close().await.unwrap();
    }
    total
}

/// Returns the same with a container that is idle already. The time to prepare the next container
/// is not included.
async fn first_warm(executor: &DockerExecutor, times: u64) -> Duration {
    let mut total = Duration::ZERO;
    for _ in 0..times {
        while executor.idle() == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // The engine is still working on the container that it has just started, and on the one
        // before.
        tokio::time::sleep(Duration::from_millis(300)).await;
        total += first(executor, 1).await;
    }
    total
}

fn later(
    group: &mut BenchmarkGroup<'_, WallTime>,
    runtime: &Runtime,
    name: &str,
    executor: &dyn Executor,
) {
    let mut live = runtime.block_on(session(executor)).unwrap();
    group.bench_function(name, |bencher| {
        bencher.iter(|| runtime.block_on(turn(&mut live, "x = 1")).unwrap());
    });
    runtime.block_on(live.close()).unwrap();
}

fn sessions(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let wasi = runtime.block_on(executor()).unwrap();
    let local =
        runtime.block_on(LocalExecutor::start(cellblock_local::Options::default())).unwrap();
    let docker = runtime.block_on(async {
        let executor = DockerExecutor::start(cellblock_docker::Options::default(), &Silent).await?;
        executor.warm(&SessionSpec::default()).await?;
        Ok::<_, cellblock_exec::Error>(Arc::new(executor))
    });

    let mut group = criterion.benchmark_group("first");
    // Flat, because each sample of a container takes a second, most of which is not measured.
    group
        .sample_size(20)
        .measurement_time(Duration::from_secs(8))
        .sampling_mode(SamplingMode::Flat);
    if let Some(python) = native_python() {
        group.bench_function("native", |bencher| {
            bencher.iter(|| {
                Command::new(&python).args(["-c", PRINT]).stdout(Stdio::null()).status().unwrap()
            });
        });
    }
    group.bench_function("wasi", |bencher| {
        bencher.iter_custom(|times| runtime.block_on(first(wasi.as_ref(), times)))
    });
    group.bench_function("local", |bencher| {
        bencher.iter_custom(|times| runtime.block_on(first(&local, times)))
    });
    match &docker {
        Ok(docker) => {
            group.bench_function("docker, warm", |bencher| {
                bencher.iter_custom(|times| runtime.block_on(first_warm(docker, times)));
            });
            let image = cellblock_docker::image_reference(cellblock_docker::DEFAULT_IMAGE);
            group.bench_function("docker run", |bencher| {
                let run =
                    ["run", "--rm", "--network=none", "--entrypoint=python3", &image, "-c", PRINT];
                bencher.iter(|| {
                    let status =
                        Command::new("docker").args(run).stdout(Stdio::null()).status().unwrap();
                    assert!(status.success(), "{status}");
                });
            });
        }
        Err(error) => eprintln!("skipped: Docker: {error}"),
    }
    group.finish();

    let mut group = criterion.benchmark_group("later");
    later(&mut group, &runtime, "wasi", wasi.as_ref());
    later(&mut group, &runtime, "local", &local);
    if let Ok(docker) = &docker {
        later(&mut group, &runtime, "docker", docker.as_ref());
    }
    group.finish();
}

criterion_group!(benches, sessions);
criterion_main!(benches);
