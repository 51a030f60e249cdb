//! Single executions: `cargo bench -p cellblock-benches --bench executions`.
//!
//! Every figure includes the reset of the instance.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stderr)]

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use cellblock_benches::{
    FRAME, NUMPY, PRINT, TABLE, executor, fresh, native_python, session, turn,
};
use criterion::{Criterion, criterion_group, criterion_main};

fn executions(criterion: &mut Criterion) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let executor = runtime.block_on(executor()).unwrap();

    let mut group = criterion.benchmark_group("fresh");
    group.measurement_time(Duration::from_secs(5));
    match native_python() {
        Some(python) => {
            group.bench_function("native print", |bencher| {
                bencher.iter(|| {
                    Command::new(&python)
                        .args(["-c", PRINT])
                        .stdout(Stdio::null())
                        .status()
                        .unwrap()
                });
            });
        }
        None => eprintln!("skipped: no /usr/bin/python3 to compare with"),
    }
    for (name, code) in [("print", PRINT), ("numpy", NUMPY), ("frame", FRAME), ("table", TABLE)] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| runtime.block_on(fresh(executor.as_ref(), code)).unwrap());
        });
    }
    group.finish();

    let mut group = criterion.benchmark_group("live");
    let mut live = runtime.block_on(session(executor.as_ref())).unwrap();
    group.bench_function("turn", |bencher| {
        bencher.iter(|| runtime.block_on(turn(&mut live, "x = 1")).unwrap());
    });
    let make =
        "import numpy as np, pandas as pd; frame = pd.DataFrame(np.random.rand(125_000, 100))";
    runtime.block_on(turn(&mut live, make)).unwrap();
    let _first = runtime.block_on(live.fork()).unwrap();
    group.bench_function("fork 100 MB, frozen", |bencher| {
        bencher.iter(|| runtime.block_on(live.fork()).unwrap());
    });
    group.finish();
}

criterion_group!(benches, executions);
criterion_main!(benches);
