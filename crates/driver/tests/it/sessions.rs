//! Properties of sessions with a driver, beyond the contract.

use std::time::Instant;

use cellblock_exec::{
    ExecutionRequest, ExecutionResult, Executor, Language, Limits, Outcome, Session, SessionSpec,
};

use crate::bare::Bare;

pub fn unlimited() -> SessionSpec {
    let limits = Limits {
        memory: u64::MAX,
        disk: u64::MAX,
        files: u32::MAX,
        processes: u32::MAX,
        ..Limits::default()
    };
    SessionSpec { limits, ..SessionSpec::default() }
}

async fn open() -> Box<dyn Session> {
    Bare.open(unlimited()).await.unwrap()
}

async fn run(session: &mut Box<dyn Session>, language: Language, code: &str) -> ExecutionResult {
    let request = ExecutionRequest { language, ..ExecutionRequest::python(code) };
    session.execute(request).await.unwrap()
}

#[tokio::test]
async fn a_shell_shares_the_files() {
    let mut session = open().await;
    let result =
        run(&mut session, Language::BASH, "echo from bash > a.txt; echo out; echo err >&2; exit 4")
            .await;
    assert_eq!(result.outcome, Outcome::Exited { code: 4 });
    assert_eq!((result.stdout.text().as_str(), result.stderr.text().as_str()), ("out\n", "err\n"));
    assert_eq!(result.artifacts[0].path, "a.txt");
    let result = run(&mut session, Language::PYTHON, "print(open('a.txt').read(), end='')").await;
    assert_eq!(result.stdout.text(), "from bash\n");
    assert!(!result.state_lost);
}

/// A child that outlives the block and holds its output does not delay the block's end.
#[tokio::test]
async fn a_grandchild_that_holds_the_output_delays_nobody() {
    let mut session = open().await;
    let start = Instant::now();
    let result = run(&mut session, Language::BASH, "sleep 1000 & echo started").await;
    assert_eq!(
        (result.outcome, result.stdout.text().as_str()),
        (Outcome::Exited { code: 0 }, "started\n")
    );
    assert!(start.elapsed().as_secs() < 10);
}

/// A program that kills every process it can reach harms neither driver nor files.
#[tokio::test]
async fn a_program_cannot_kill_its_driver() {
    let mut session = open().await;
    run(&mut session, Language::PYTHON, "x = 1; open('kept.txt', 'w').close()").await;
    let result = run(
        &mut session,
        Language::BASH,
        "kill -9 -1; kill -9 1; kill -INT 1; kill -TERM 1; echo alive",
    )
    .await;
    assert_eq!(result.outcome, Outcome::Exited { code: 0 }, "{result:?}");
    let result = run(
        &mut session,
        Language::PYTHON,
        "import os; print(os.path.exists('kept.txt'), 'x' in globals())",
    )
    .await;
    assert_eq!(result.stdout.text(), "True False\n");
    assert!(result.state_lost, "the interpreter was killed between two blocks");
}

/// A thread that outlives its block writes to the next block, and ends with the session.
#[tokio::test]
async fn background_programs_continue() {
    let mut session = open().await;
    let code = "import threading, time\ndef later():\n    time.sleep(0.3)\n    print('later')\n\
                threading.Thread(target=later).start()";
    assert_eq!(run(&mut session, Language::PYTHON, code).await.stdout.text(), "");
    let result =
        run(&mut session, Language::PYTHON, "import time; time.sleep(1); print('now')").await;
    assert_eq!(result.stdout.text(), "later\nnow\n");
}

/// A process that lost its parent is reaped: it does not stay as a zombie.
#[tokio::test]
async fn orphans_are_reaped() {
    let mut session = open().await;
    let code = "for i in $(seq 20); do (setsid sleep 0.01 &) ; done; sleep 0.5\n\
                grep -l zombie /proc/[0-9]*/status | wc -l";
    assert_eq!(run(&mut session, Language::BASH, code).await.stdout.text(), "0\n");
}
