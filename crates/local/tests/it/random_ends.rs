//! Tests of many sessions that end at random: dropped at any point, or with a process killed at any
//! moment. Nothing may remain.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use cellblock_conformance::traces::{marker, processes_with};
use cellblock_exec::{ExecutionRequest, Executor, Isolation, SessionSpec};

use super::{
    cells::{executor, levels},
    traces::{Victims, eventually, hydra, kill, launchers_of, remains, remains_of, run},
};

/// Sessions end at random points, in every way. The test has a process of its own, so that open
/// descriptors can be counted.
#[test]
fn fifty_sessions_leave_nothing() {
    let passed = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "random_ends::as_a_host_of_fifty", "--nocapture"])
        .env("CELLBLOCK_TEST_FIFTY", "1")
        .status()
        .unwrap();
    assert!(passed.success());
}

/// The child process of [`fifty_sessions_leave_nothing`]. Not a test of its own: without the
/// variable it does nothing.
#[tokio::test(flavor = "multi_thread")]
async fn as_a_host_of_fifty() {
    // The variable may set a larger number of sessions, to find slower leaks.
    let Ok(count) = std::env::var("CELLBLOCK_TEST_FIFTY") else { return };
    let count = count.parse::<u64>().unwrap_or(50).max(50);
    let open = |pid: u32| fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    let own = std::process::id();
    for level in [Isolation::Namespaces, Isolation::Landlock] {
        let executor = Arc::new(executor(level).await);
        executor.open(SessionSpec::default()).await.unwrap().close().await.unwrap();
        let launchers = launchers_of(own);
        assert_eq!(launchers.len(), 1);
        // Time for the launcher to make the next spare process.
        tokio::time::sleep(Duration::from_millis(200)).await;
        let counts = || {
            (
                open(own),
                launchers.iter().map(|pid| open(*pid)).sum::<usize>(),
                remains_of(&launchers).len(),
            )
        };
        let before = counts();
        let marker = marker();
        let mut tasks = Vec::new();
        for number in 0..count {
            let (executor, code) = (executor.clone(), hydra(&marker));
            tasks.push(tokio::spawn(async move {
                let work = async {
                    let mut session = executor.open(SessionSpec::default()).await.unwrap();
                    run(session.as_mut(), &code).await;
                    session.close().await.unwrap();
                };
                // Every second one is dropped somewhere between its start and its end.
                if number % 2 == 0 {
                    let _ =
                        tokio::time::timeout(Duration::from_millis(number * 40 % 1000), work).await;
                } else {
                    work.await;
                }
            }));
            if number % 10 == 9 {
                for task in tasks.drain(..) {
                    task.await.unwrap();
                }
            }
        }
        eventually("the processes are gone", || processes_with(&marker) == 0);
        let mut session = executor.open(SessionSpec::default()).await.unwrap();
        assert_eq!(run(session.as_mut(), "print('sound')").await, "sound\n");
        session.close().await.unwrap();
        let mut after = counts();
        let start = Instant::now();
        while after != before && start.elapsed() < Duration::from_secs(10) {
            tokio::time::sleep(Duration::from_millis(50)).await;
            after = counts();
        }
        assert_eq!(
            after, before,
            "(descriptors, those of the launcher, groups and directories) at the level {level}"
        );
        drop(executor);
        eventually("the launcher is gone", || launchers_of(own).is_empty());
        assert_eq!(remains_of(&launchers), Vec::<PathBuf>::new());
    }
}

/// The process that is killed at a random moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Host,
    Launcher,
    Keeper,
    Driver,
}

/// The child process of [`kills_at_random_moments_leave_nothing`]: it opens sessions without end, a
/// few at once. Not a test of its own: without the variable it does nothing.
#[tokio::test(flavor = "multi_thread")]
async fn as_a_host_under_load() {
    let Ok(text) = std::env::var("CELLBLOCK_TEST_LOAD") else { return };
    let (level, marker) = text.split_once(' ').unwrap();
    let level = levels().into_iter().find(|other| other.to_string() == level).unwrap();
    let executor = Arc::new(executor(level).await);
    for _ in 0..3 {
        let (executor, code) = (executor.clone(), hydra(marker));
        tokio::spawn(async move {
            loop {
                // A session that fails was killed from outside.
                if let Ok(mut session) = executor.open(SessionSpec::default()).await {
                    let _ = session.execute(ExecutionRequest::python(&code)).await;
                    let _ = session.close().await;
                }
            }
        });
    }
    println!("\nREADY");
    tokio::time::sleep(Duration::from_secs(600)).await;
}

/// Returns the groups and directories of keepers that are gone.
fn remains_of_the_dead() -> Vec<PathBuf> {
    let all = remains(|pid| !Path::new(&format!("/proc/{pid}")).exists());
    // A path that is being removed may be gone by now.
    all.into_iter().filter(|path| path.exists()).collect()
}

/// Kills under load, at random moments, of every process that could clean up. A variable sets the
/// number of kills of each; 50 take some minutes.
#[test]
fn kills_at_random_moments_leave_nothing() {
    let count = std::env::var("CELLBLOCK_TEST_KILLS").ok().and_then(|text| text.parse().ok());
    // Without the mounts of a container engine, which another test may use at the same time.
    let is_other = |line: &&str| ["docker", "overlay", "nsfs"].iter().any(|it| line.contains(it));
    let mounts = || {
        let text = fs::read_to_string("/proc/self/mountinfo").unwrap();
        text.lines().filter(|line| !is_other(line)).count()
    };
    let (before, old) = (mounts(), remains_of_the_dead());
    for level in levels() {
        for target in [Target::Host, Target::Launcher, Target::Keeper, Target::Driver] {
            for round in 0..count.unwrap_or(1) {
                let marker = marker();
                let mut host = Command::new(std::env::current_exe().unwrap())
                    .args(["--exact", "random_ends::as_a_host_under_load", "--nocapture"])
                    .env("CELLBLOCK_TEST_LOAD", format!("{level} {marker}"))
                    .stdout(Stdio::piped())
                    .stderr(Stdio::null())
                    .spawn()
                    .unwrap();
                let lines = BufReader::new(host.stdout.take().unwrap()).lines();
                let mut lines = lines.map_while(Result::ok);
                assert!(lines.any(|line| line == "READY"), "the host did not come up");
                std::thread::sleep(Duration::from_micros(random() % 700_000));
                let keeper = *launchers_of(host.id()).first().unwrap();
                match target {
                    Target::Host => {}
                    Target::Launcher => kill(Victims::Launcher, keeper),
                    Target::Keeper => kill(Victims::Keeper, keeper),
                    Target::Driver => {
                        // Any child of the launcher: a driver, or a spare process.
                        let launcher = *launchers_of(keeper).first().unwrap();
                        let children = format!("/proc/{launcher}/task/{launcher}/children");
                        let children = fs::read_to_string(children).unwrap_or_default();
                        if let Some(driver) = children.split_whitespace().next() {
                            let _ = Command::new("kill").args(["-KILL", driver]).status();
                        }
                    }
                }
                if target != Target::Host {
                    std::thread::sleep(Duration::from_micros(random() % 200_000));
                }
                host.kill().unwrap();
                host.wait().unwrap();
                let what = format!("{target:?} at {level}, round {round}");
                eventually(&format!("no process: {what}"), || processes_with(&marker) == 0);
                eventually(&format!("no group and directory: {what}"), || {
                    remains_of_the_dead().iter().all(|path| old.contains(path))
                });
            }
        }
    }
    assert_eq!(mounts(), before);
}

/// Returns a random number.
fn random() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(0)
}
