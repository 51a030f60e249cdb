//! Tests that no process, control group, mount or directory remains, however a session ends.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use cellblock_conformance::traces::{marker, processes_with};
use cellblock_exec::{Executor, Isolation, Session, SessionSpec};
use cellblock_local::LocalExecutor;

use super::{
    cells::{executor, levels},
    traces::{
        Victims, eventually, has_groups, hydra, keepers_with, kill, launchers_of, remains_of, run,
    },
};

#[tokio::test(flavor = "multi_thread")]
async fn closing_waits_until_all_is_gone() {
    for level in levels() {
        let executor = executor(level).await;
        let marker = marker();
        let mut session = executor.open(SessionSpec::default()).await.unwrap();
        assert_eq!(run(session.as_mut(), &hydra(&marker)).await, "made\n");
        session.close().await.unwrap();
        // Immediately, not after some time.
        assert_eq!(processes_with(&marker), 0, "{level}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_leaves_nothing() {
    for level in levels() {
        let executor = executor(level).await;
        let marker = marker();
        let mut session = executor.open(SessionSpec::default()).await.unwrap();
        assert_eq!(run(session.as_mut(), &hydra(&marker)).await, "made\n");
        drop(session);
        eventually("the processes are gone", || processes_with(&marker) == 0);
        // The executor still works.
        let mut session = executor.open(SessionSpec::default()).await.unwrap();
        assert_eq!(run(session.as_mut(), "print('sound')").await, "sound\n");
    }
}

/// A program that never stops forking is killed, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_runaway_fork_bomb_is_caught() {
    for level in levels() {
        let executor = executor(level).await;
        let marker = marker();
        // Each process constantly replaces itself by a child, so every look finds other processes.
        let code = format!(
            "import os, sys, time
program = '''import os, time
while True:
    try:
        if os.fork(): os._exit(0)
    except OSError: pass
    time.sleep(0.001)'''
for _ in range(4):
    if os.fork() == 0:
        os.execv(sys.executable, [sys.executable, '-c', program, '{marker}'])
time.sleep(0.3)
print('made', flush=True)
"
        );
        let mut session = executor.open(SessionSpec::default()).await.unwrap();
        assert_eq!(run(session.as_mut(), &code).await, "made\n");
        // They change faster than they can be listed: one look may miss all of them, but many looks
        // will not.
        let seen = || (0..50).any(|_| processes_with(&marker) > 0);
        assert!(seen(), "the control: they run at the level {level}");
        session.close().await.unwrap();
        assert!(!seen(), "{level}");
    }
}

/// The child process of [`killing_the_host_leaves_nothing`]. Not a test of its own: without the
/// variable it does nothing.
#[tokio::test(flavor = "multi_thread")]
async fn as_a_host_to_be_killed() {
    let Ok(marker) = std::env::var("CELLBLOCK_TEST_HOST") else { return };
    let mut kept: Vec<(LocalExecutor, Box<dyn Session>)> = Vec::new();
    for level in levels() {
        let executor = executor(level).await;
        let mut session = executor.open(SessionSpec::default()).await.unwrap();
        run(session.as_mut(), &hydra(&marker)).await;
        kept.push((executor, session));
    }
    println!("\nREADY");
    std::thread::sleep(Duration::from_secs(600));
    drop(kept);
}

#[test]
fn killing_the_host_leaves_nothing() {
    let marker = marker();
    let mut host = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "remains::as_a_host_to_be_killed", "--nocapture"])
        .env("CELLBLOCK_TEST_HOST", &marker)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let lines = BufReader::new(host.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line == "READY"), "the host did not come up");
    let launchers = launchers_of(host.id());
    assert_eq!(launchers.len(), levels().len());
    // The controls: before the host is killed, everything is there.
    assert!(processes_with(&marker) >= 3 * levels().len());
    assert!(!remains_of(&launchers).is_empty());
    host.kill().unwrap();
    host.wait().unwrap();
    eventually("the processes are gone", || processes_with(&marker) == 0);
    let alive = |pid: &u32| Path::new(&format!("/proc/{pid}")).exists();
    eventually("the launchers are gone", || !launchers.iter().any(alive));
    assert_eq!(remains_of(&launchers), Vec::<PathBuf>::new());
}

/// If the launcher is killed, its programs end at every level, nothing of theirs remains, and the
/// executor continues to work.
#[tokio::test(flavor = "multi_thread")]
async fn programs_end_with_a_killed_launcher() {
    for level in levels() {
        for victims in [Victims::Launcher, Victims::Keeper, Victims::Both] {
            let executor = executor(level).await;
            let marker = marker();
            let mut session = executor.open(SessionSpec::default()).await.unwrap();
            run(session.as_mut(), &hydra(&marker)).await;
            let keepers = keepers_with(&marker);
            assert_eq!(keepers.len(), 1);
            if victims == Victims::Both && level != Isolation::Namespaces && !has_groups(&keepers) {
                println!("skipped at {level}: without control groups nothing finds the programs");
                continue;
            }
            assert!(processes_with(&marker) > 3, "the control");
            kill(victims, keepers.first().copied().unwrap());
            if victims != Victims::Both {
                eventually("the processes are gone", || processes_with(&marker) == 0);
                eventually("nothing is left", || remains_of(&keepers).is_empty());
            }
            drop(session);
            let mut session = reopen(&executor).await;
            assert_eq!(run(session.as_mut(), "print(2)").await, "2\n");
            eventually("the processes are gone", || processes_with(&marker) == 0);
            eventually("nothing is left for the new one", || remains_of(&keepers).is_empty());
        }
    }
}

/// Opens a session of an executor whose launcher was killed, which the executor notices a moment
/// later.
async fn reopen(executor: &LocalExecutor) -> Box<dyn Session> {
    loop {
        match executor.open(SessionSpec::default()).await {
            Ok(session) => return session,
            Err(error) => {
                assert!(matches!(error, cellblock_exec::Error::Start { .. }), "{error:?}");
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A program outlives its launcher, and replaces directories by links while its directory is
/// removed. The program is killed first, and only the cell's own files are removed.
#[tokio::test(flavor = "multi_thread")]
async fn a_later_start_removes_nothing_of_the_hosts() {
    const SWAPS: &str = r#"
import os, subprocess, sys, time
program = '''
import os, signal, sys
for number in (1, 2, 15): signal.signal(number, signal.SIG_IGN)
for number in range(300): os.makedirs('w/%d/x' % number, exist_ok=True)
while True:
    for number in range(300):
        try:
            os.rename('w/%d' % number, 'w/moved')
            os.symlink(sys.argv[1], 'w/%d' % number)
            os.unlink('w/%d' % number)
            os.rename('w/moved', 'w/%d' % number)
        except OSError: pass
'''
subprocess.Popen([sys.executable, '-c', program, VICTIM, MARKER], start_new_session=True)
time.sleep(0.5); print('made', flush=True)
"#;
    let outer = tempfile::tempdir().unwrap();
    let victim = outer.path().join("victim");
    fs::create_dir_all(victim.join("inner")).unwrap();
    fs::write(victim.join("inner/file"), "kept").unwrap();
    for level in [Isolation::Landlock, Isolation::None] {
        let first = executor(level).await;
        let marker = marker();
        let code = SWAPS.replace("VICTIM", &format!("{victim:?}"));
        let code = code.replace("MARKER", &format!("{marker:?}"));
        let mut session = first.open(SessionSpec::default()).await.unwrap();
        assert_eq!(run(session.as_mut(), &code).await, "made\n");
        let keepers = keepers_with(&marker);
        let victims = if has_groups(&keepers) { Victims::Both } else { Victims::Launcher };
        assert!(processes_with(&marker) > 0, "the control at {level}");
        kill(victims, keepers.first().copied().unwrap());
        let next = executor(level).await;
        next.open(SessionSpec::default()).await.unwrap().close().await.unwrap();
        eventually("the program is gone", || processes_with(&marker) == 0);
        eventually("its directory is gone", || remains_of(&keepers).is_empty());
        let content = fs::read_to_string(victim.join("inner/file"));
        assert_eq!(content.unwrap(), "kept", "{level}");
        drop((session, first));
    }
}
