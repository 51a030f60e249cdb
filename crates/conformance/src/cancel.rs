//! Ending an execution early, by its token or by dropping its future, and ending a session.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

use crate::steps::{assert_outcome, assert_sound, open, run, run_request, succeed};
use crate::traces::{eventually, marker};
use cellblock_exec::{ExecutionRequest, Executor, Outcome};

/// Cancellation takes 100 ms; a busy machine may add to that.
const PROMPT: Duration = Duration::from_secs(1);

/// A token ends a loop, a sleep and many short sleeps within a second. Partial output is kept, and
/// the session continues.
pub async fn a_token_cancels(executor: &dyn Executor) {
    let mut session = open(executor).await;
    for endless in
        ["while True: pass", "time.sleep(3600)", "for i in iter(int, 1): time.sleep(0.001)"]
    {
        let cancel = CancellationToken::new();
        let code = format!("import time\nprint('before', flush=True)\n{endless}");
        let began = Arc::new(tokio::sync::Notify::new());
        let sink = {
            let began = began.clone();
            Arc::new(move |_, _: &[u8]| began.notify_one())
        };
        let request = ExecutionRequest {
            cancel: cancel.clone(),
            sink: Some(sink),
            ..ExecutionRequest::python(code)
        };
        let canceller = async {
            began.notified().await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            cancel.cancel();
            Instant::now()
        };
        let (result, cancelled) = tokio::join!(
            async { (run_request(session.as_mut(), request).await, Instant::now()) },
            canceller
        );
        let (result, end) = result;
        assert_outcome(&result, &Outcome::Cancelled);
        assert!(end - cancelled < PROMPT, "{endless}: cancelled after {:?}", end - cancelled);
        assert_eq!(result.stdout.text(), "before\n");
        assert_eq!(succeed(session.as_mut(), "print('next')").await, "next\n");
    }
}

/// With a cancelled token nothing runs.
pub async fn a_cancelled_token_runs_nothing(executor: &dyn Executor) {
    let cancel = CancellationToken::new();
    cancel.cancel();
    let mut session = open(executor).await;
    let code = "open('ran.txt', 'w').close()\nprint('ran')";
    let request = ExecutionRequest { cancel, ..ExecutionRequest::python(code) };
    let result = run_request(session.as_mut(), request).await;
    assert_outcome(&result, &Outcome::Cancelled);
    assert!(result.stdout.bytes.is_empty() && result.artifacts.is_empty(), "{result:?}");
    assert_eq!(
        succeed(session.as_mut(), "import os; print(os.path.exists('ran.txt'))").await,
        "False\n"
    );
}

/// A dropped future stops the program: it prints nothing more. The executor still works.
pub async fn a_dropped_future_cancels(executor: &dyn Executor) {
    for endless in [
        "while True: print('tick', flush=True)",
        "while True:\n    print('tick', flush=True)\n    time.sleep(0.01)",
    ] {
        let ticks = Arc::new(AtomicUsize::new(0));
        let sink = {
            let ticks = ticks.clone();
            Arc::new(move |_, _: &[u8]| {
                ticks.fetch_add(1, Ordering::SeqCst);
            })
        };
        let mut session = open(executor).await;
        let request = ExecutionRequest {
            sink: Some(sink),
            ..ExecutionRequest::python(format!("import time\nprint('tick', flush=True)\n{endless}"))
        };
        let started = async {
            while ticks.load(Ordering::SeqCst) == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            result = session.execute(request) => panic!("it ended by itself: {result:?}"),
            () = started => {}
        }
        tokio::time::sleep(PROMPT).await;
        let at_drop = ticks.load(Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(ticks.load(Ordering::SeqCst), at_drop, "the program still prints");
        drop(session);
        assert_sound(executor).await;
    }
}

/// A session that is dropped, idle or during a run, leaves no file on the host; nor does a closed
/// one.
pub async fn a_dropped_session_leaves_nothing(executor: &dyn Executor) {
    let marker = marker();
    let code = format!("open('{marker}.txt', 'w').close()\nprint('made', flush=True)");
    for ending in ["drop", "drop mid-run", "close"] {
        let mut session = open(executor).await;
        let result = run(session.as_mut(), &code).await;
        assert_outcome(&result, &Outcome::Exited { code: 0 });
        match ending {
            "close" => {
                if let Err(error) = session.close().await {
                    panic!("cannot close: {error:?}");
                }
            }
            "drop mid-run" => {
                let endless = session.execute(ExecutionRequest::python("while True: pass"));
                assert!(tokio::time::timeout(Duration::from_millis(200), endless).await.is_err());
                drop(session);
            }
            _ => drop(session),
        }
        let directory = std::env::temp_dir();
        let what = format!("no file of the session in {} after {ending}", directory.display());
        eventually(&what, || !contains(&directory, &marker, 6)).await;
    }
    assert_sound(executor).await;
}

/// True if the directory has a file whose name contains `name`, at most `depth` directories down.
fn contains(directory: &Path, name: &str, depth: usize) -> bool {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    for entry in entries {
        if entry.file_name().to_string_lossy().contains(name) {
            return true;
        }
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_directory && depth > 0 && contains(&entry.path(), name, depth - 1) {
            return true;
        }
    }
    false
}

/// Many sessions are open and run at once, and sleeping ones do not delay others.
pub async fn sessions_run_at_once(executor: &dyn Executor) {
    let mut sleepers = Vec::new();
    for number in 0..8 {
        let mut session = open(executor).await;
        sleepers.push(async move {
            let code = format!("import time\ntime.sleep(2)\nprint({number})");
            assert_eq!(succeed(session.as_mut(), &code).await, format!("{number}\n"));
        });
    }
    let start = Instant::now();
    let all = async {
        let mut running = tokio::task::JoinSet::new();
        for sleeper in sleepers {
            running.spawn(sleeper);
        }
        while let Some(ended) = running.join_next().await {
            if let Err(error) = ended {
                std::panic::resume_unwind(error.into_panic());
            }
        }
    };
    let other = async {
        let mut session = open(executor).await;
        assert_eq!(succeed(session.as_mut(), "print('awake')").await, "awake\n");
        start.elapsed()
    };
    let ((), other) = tokio::join!(all, other);
    assert!(
        start.elapsed() < Duration::from_secs(12),
        "eight sleeps of 2 s took {:?}",
        start.elapsed()
    );
    assert!(other < start.elapsed(), "a short program waited for all sleepers");
}
