//! Copies of a live session: forks, and sessions frozen to disk. Where they are not claimed, they
//! are refused.

use crate::steps::{limits, open, run, succeed};
use cellblock_exec::{Error, Executor, Session};

/// State of every kind that a copy must have.
const STATE: &str = "
import random
data = {'list': [1, 2, 3]}
alias = data['list']
def count():
    n = 0
    while True:
        n += 1
        yield n
counter = count()
first = next(counter)
log = open('log.txt', 'w')
n = log.write('start;')
log.flush()
reader = open('input.txt', 'w+')
n = reader.write('abcdef')
n = reader.seek(2)
";

/// Checks that `session` continues from [`STATE`], and changes all of it.
async fn go_on(session: &mut dyn Session, name: &str) {
    let code = format!(
        "alias.append('{name}')\nn = log.write('{name}')\nlog.close()\n\
         print(data['list'], next(counter), open('log.txt').read(), reader.read())"
    );
    assert_eq!(succeed(session, &code).await, format!("[1, 2, 3, '{name}'] 2 start;{name} cdef\n"));
}

/// A fork continues with the objects, files, generators and open files of its session. Afterwards
/// neither sees the other.
pub async fn forks(executor: &dyn Executor) {
    let mut session = open(executor).await;
    if !executor.capabilities().fork {
        assert!(
            matches!(session.fork().await, Err(Error::Unsupported(_))),
            "a fork that is not claimed"
        );
        return;
    }
    succeed(session.as_mut(), STATE).await;
    let mut forks = Vec::new();
    for _ in 0..3 {
        forks.push(fork(session.as_mut()).await);
    }
    go_on(session.as_mut(), "parent").await;
    let mut grandchild = fork(forks[2].as_mut()).await;
    drop(session);
    go_on(forks[0].as_mut(), "first").await;
    go_on(forks[1].as_mut(), "second").await;
    go_on(forks[2].as_mut(), "third").await;
    go_on(grandchild.as_mut(), "grandchild").await;
}

/// Forks the session, or panics with the error.
async fn fork(session: &mut dyn Session) -> Box<dyn Session> {
    match session.fork().await {
        Ok(fork) => fork,
        Err(error) => panic!("cannot fork: {error:?}"),
    }
}

/// Files of the original session are not artifacts of a fork: it reports only its own changes.
pub async fn forks_report_their_own_files(executor: &dyn Executor) {
    let mut session = open(executor).await;
    if !executor.capabilities().fork {
        assert!(
            matches!(session.fork().await, Err(Error::Unsupported(_))),
            "a fork that is not claimed"
        );
        return;
    }
    succeed(session.as_mut(), "with open('before.txt', 'w') as f: n = f.write('x')").await;
    let mut fork = fork(session.as_mut()).await;
    let result = run(fork.as_mut(), "with open('after.txt', 'w') as f: n = f.write('y')").await;
    assert_eq!(crate::steps::artifact_paths(&result), ["after.txt"]);
    assert_eq!(
        succeed(session.as_mut(), "import os; print(sorted(os.listdir('.')))").await,
        "['before.txt']\n"
    );
}

/// A frozen session continues where it was, more than once, and so does the original session.
pub async fn freeze_and_resume(executor: &dyn Executor) {
    let directory = match tempfile::tempdir() {
        Ok(directory) => directory,
        Err(error) => panic!("cannot make a directory: {error}"),
    };
    let frozen = directory.path().join("frozen");
    let mut session = open(executor).await;
    if !executor.capabilities().freeze {
        assert!(
            matches!(session.freeze(&frozen).await, Err(Error::Unsupported(_))),
            "a freeze that is not claimed"
        );
        assert!(matches!(
            executor.resume(&frozen, limits(executor)).await,
            Err(Error::Unsupported(_))
        ));
        assert!(!frozen.exists());
        return;
    }
    succeed(session.as_mut(), STATE).await;
    if let Err(error) = session.freeze(&frozen).await {
        panic!("cannot freeze: {error:?}");
    }
    assert!(session.freeze(&frozen).await.is_err(), "a frozen session was overwritten");
    go_on(session.as_mut(), "original").await;
    drop(session);
    for name in ["first", "second"] {
        match executor.resume(&frozen, limits(executor)).await {
            Ok(mut session) => go_on(session.as_mut(), name).await,
            Err(error) => panic!("cannot resume: {error:?}"),
        }
    }
    let absent = directory.path().join("absent");
    assert!(
        executor.resume(&absent, limits(executor)).await.is_err(),
        "a session that was never frozen was resumed"
    );
}

/// Installing is refused where it is not claimed; where it is, installing nothing changes nothing.
pub async fn install_is_claimed_or_refused(executor: &dyn Executor) {
    let mut session = open(executor).await;
    match (executor.capabilities().install, session.install(&[]).await) {
        (true, Ok(report)) => assert!(report.installed.is_empty(), "{report:?}"),
        (false, Err(Error::Unsupported(_))) => {}
        (claimed, got) => panic!("installing is claimed: {claimed}, and gave {got:?}"),
    }
}
