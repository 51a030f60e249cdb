//! Tests that no process, control group, mount or directory remains, however a session ends.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use cellblock_conformance::traces::{marker, processes_with};
use cellblock_exec::{ExecutionRequest, Executor, Isolation, Session, SessionSpec};
use cellblock_local::LocalExecutor;

use super::cells::{executor, levels};

/// A program that starts every kind of process that is hard to kill: processes that ignore signals,
/// have no parent, have a session of their own, or hold the output open.
const HYDRA: &str = r"
import os, signal, subprocess, sys, time
def deaf():
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
for level in range(3):
    if os.fork() == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
        deaf()
        subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)', MARKER])
        program = '\n'.join(['import signal, time',
                             'for n in (1, 2, 15): signal.signal(n, signal.SIG_IGN)',
                             'time.sleep(600)'])
        os.execv(sys.executable, [sys.executable, '-c', program, MARKER])
subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)', MARKER])
time.sleep(0.3)
print('made', flush=True)
";

fn hydra(marker: &str) -> String {
    HYDRA.replace("MARKER", &format!("{marker:?}"))
}

/// Returns the control groups and directories that these keepers have made.
fn remains_of(keepers: &BTreeSet<u32>) -> Vec<PathBuf> {
    remains(|pid| keepers.contains(&pid))
}

/// Returns the control groups and directories of the keepers for which `is_meant` returns true.
fn remains(is_meant: impl Fn(u32) -> bool) -> Vec<PathBuf> {
    let ours = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let rest = name.strip_prefix("cellblock-cell-").or_else(|| name.strip_prefix("cellblock-"));
        rest.and_then(|rest| rest.split('-').nth(1)?.parse().ok()).is_some_and(&is_meant)
    };
    let mut found = Vec::new();
    let mut waiting = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                waiting.push(entry.path());
            }
            found.extend(Some(entry.path()).filter(|path| ours(path)));
        }
    }
    let temporary = fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten();
    found.extend(temporary.map(|entry| entry.path()).filter(|path| ours(path)));
    found
}

/// Returns the launchers that a process has started. The child of a host is a keeper; the child of
/// a keeper is a launcher.
fn launchers_of(parent: u32) -> BTreeSet<u32> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let pids = processes.filter_map(|process| process.file_name().to_str()?.parse().ok());
    pids.filter(|pid| {
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        arguments.starts_with(b"cellblock-launcher")
            && status.contains(&format!("\nPPid:\t{parent}\n"))
    })
    .collect()
}

#[track_caller]
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(10), "not within ten seconds: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

async fn run(session: &mut dyn Session, code: &str) -> String {
    let result = session.execute(ExecutionRequest::python(code)).await.unwrap();
    assert!(result.outcome.is_success(), "{:?} {}", result.outcome, result.stderr.text());
    result.stdout.text()
}

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

/// The processes of an executor that a test kills.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victims {
    /// The process that makes cells.
    Launcher,
    /// The parent of the launcher.
    Keeper,
    /// Both at once: then only control groups show which processes were theirs.
    Both,
}

/// Returns the keepers of this process that have a descendant with this text among its arguments.
fn keepers_with(marker: &str) -> BTreeSet<u32> {
    let all = launchers_of(std::process::id()).into_iter();
    all.filter(|keeper| descends_with(*keeper, marker)).collect()
}

fn send(signal: &str, pids: &[u32]) {
    let pids = pids.iter().map(ToString::to_string);
    assert!(Command::new("kill").arg(signal).args(pids).status().unwrap().success());
}

fn kill(victims: Victims, keeper: u32) {
    let launchers: Vec<u32> = launchers_of(keeper).into_iter().collect();
    assert_eq!(launchers.len(), 1, "a keeper has one launcher");
    match victims {
        Victims::Launcher => send("-KILL", &launchers),
        Victims::Keeper => send("-KILL", &[keeper]),
        Victims::Both => {
            // Stopped first, so that neither has time to do anything.
            let both = [launchers[0], keeper];
            send("-STOP", &both);
            send("-KILL", &both);
        }
    }
}

/// True if the cells of these keepers are in control groups.
fn has_groups(keepers: &BTreeSet<u32>) -> bool {
    remains_of(keepers).iter().any(|path| path.starts_with("/sys/fs/cgroup"))
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

/// True if a process or a descendant of it has this text among its arguments.
fn descends_with(pid: u32, text: &str) -> bool {
    let children =
        fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&arguments).contains(text)
        || children
            .split_whitespace()
            .filter_map(|child| child.parse().ok())
            .any(|child| descends_with(child, text))
}

/// Sessions end at random points, in every way. The test has a process of its own, so that open
/// descriptors can be counted.
#[test]
fn fifty_sessions_leave_nothing() {
    let passed = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "remains::as_a_host_of_fifty", "--nocapture"])
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
        let executor = std::sync::Arc::new(executor(level).await);
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
    let executor = std::sync::Arc::new(executor(level).await);
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
                    .args(["--exact", "remains::as_a_host_under_load", "--nocapture"])
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
