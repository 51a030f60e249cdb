#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)]
use cellblock_exec::*;
use cellblock_wasi::*;
use std::time::{Duration, Instant};
async fn fresh(ex: &WasiExecutor, code: &str) {
    let mut s = ex.open(SessionSpec::default()).await.unwrap();
    let r = s.execute(ExecutionRequest::python(code)).await.unwrap();
    assert!(r.outcome.is_success(), "{}", r.stderr.text());
    s.close().await.unwrap();
}
fn report(name: &str, mut v: Vec<Duration>) {
    v.sort();
    println!("{name:28} median {:?} p99 {:?}", v[v.len() / 2], v[v.len() * 99 / 100]);
}
async fn only(ex: &WasiExecutor, what: &str, n: usize) {
    for _ in 0..n {
        fresh(ex, what).await;
    }
}
#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let ex = std::sync::Arc::new(
        WasiExecutor::start(ImageStore::in_user_cache().unwrap(), Options::default(), &Silent).await.unwrap(),
    );
    if let Some(code) = std::env::args().nth(1) {
        only(&ex, &code, 4000).await;
        let mut v = Vec::new();
        for _ in 0..2000 {
            let t = Instant::now();
            fresh(&ex, &code).await;
            v.push(t.elapsed());
        }
        report(&code, v);
        return;
    }
    for (name, code, n) in [
        ("pass", "pass", 2000),
        ("print", "print('hi')", 2000),
        ("numpy", "import numpy as np; print(np.arange(1000).sum())", 1000),
        ("dataframe", "import pandas as pd; print(pd.DataFrame({'a':[1,2,3],'b':[4.,5.,6.]}).sum())", 500),
    ] {
        let mut v = Vec::new();
        for _ in 0..n {
            let t = Instant::now();
            fresh(&ex, code).await;
            v.push(t.elapsed());
        }
        report(name, v);
    }
    let mut s = ex.open(SessionSpec::default()).await.unwrap();
    let mut v = Vec::new();
    for i in 0..3000 {
        let t = Instant::now();
        s.execute(ExecutionRequest::python(format!("x = {i}"))).await.unwrap();
        v.push(t.elapsed());
    }
    report("turn", v);
    s.execute(ExecutionRequest::python(
        "import pandas as pd, numpy as np; df = pd.DataFrame(np.random.rand(125000, 100))",
    ))
    .await
    .unwrap();
    let t = Instant::now();
    let f = s.fork().await.unwrap();
    println!("first fork {:?}", t.elapsed());
    drop(f);
    let mut v = Vec::new();
    for _ in 0..200 {
        let t = Instant::now();
        let f = s.fork().await.unwrap();
        v.push(t.elapsed());
        drop(f);
    }
    report("fork 100MB frozen", v);
    let mut f = s.fork().await.unwrap();
    println!(
        "{}",
        f.execute(ExecutionRequest::python("df.shape, df.memory_usage().sum()")).await.unwrap().stdout.text()
    );
    for threads in [1usize, 2, 1, 2] {
        let t = Instant::now();
        let mut tasks = Vec::new();
        for _ in 0..threads {
            let ex = ex.clone();
            tasks.push(tokio::spawn(async move {
                for _ in 0..4000 {
                    fresh(&ex, "print('hi')").await;
                }
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        println!("{threads} threads: {:.0}/s", 4000.0 * threads as f64 / t.elapsed().as_secs_f64());
    }
}
