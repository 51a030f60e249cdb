//! Nothing is left: no process, control group, mount or directory, however a session ends.

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
use cellblock_local::{LocalExecutor, Options};

use super::walls::levels;

/// A program that leaves every kind of process behind that is hard to kill: deaf to signals, without a parent, in a session
/// of its own, holding the output.
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
        os.execv(sys.executable, [sys.executable, '-c', 'import signal, time\nfor n in (1, 2, 15): signal.signal(n, signal.SIG_IGN)\ntime.sleep(600)', MARKER])
subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)', MARKER])
time.sleep(0.3)
print('made', flush=True)
";

fn hydra(marker: &str) -> String {
    HYDRA.replace("MARKER", &format!("{marker:?}"))
}

/// Control groups and directories that these keepers have made.
fn remains_of(keepers: &BTreeSet<u32>) -> Vec<PathBuf> {
    remains(|pid| keepers.contains(&pid))
}

/// Control groups and directories of the keepers that are meant.
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

/// The launchers that a process has started.
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

async fn executor(isolation: Isolation) -> LocalExecutor {
    let options = Options { isolation: Some(isolation), ..Options::default() };
    LocalExecutor::start(options).await.unwrap()
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
        // At once, not after a while.
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
        // The executor is still there.
        let mut session = executor.open(SessionSpec::default()).await.unwrap();
        assert_eq!(run(session.as_mut(), "print('sound')").await, "sound\n");
    }
}

/// A program that never stops forking is caught all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_runaway_fork_bomb_is_caught() {
    for level in levels() {
        let executor = executor(level).await;
        let marker = marker();
        // Each process replaces itself by a child all the time, so that whoever looks finds others.
        let code = format!(
            "import os, sys\nprogram = '''import os, time\nwhile True:\n    try:\n        if os.fork(): os._exit(0)\n    except OSError: pass\n    time.sleep(0.001)'''\n\
             for _ in range(4):\n    if os.fork() == 0:\n        os.execv(sys.executable, [sys.executable, '-c', program, '{marker}'])\n\
             import time; time.sleep(0.3); print('made', flush=True)\n"
        );
        let mut session = executor.open(SessionSpec::default()).await.unwrap();
        assert_eq!(run(session.as_mut(), &code).await, "made\n");
        // They change faster than they can be listed: one look may miss them all, but not many looks.
        let seen = || (0..50).any(|_| processes_with(&marker) > 0);
        assert!(seen(), "the control: they run at the level {level}");
        session.close().await.unwrap();
        assert!(!seen(), "{level}");
    }
}

/// What the child of [`killing_the_host_leaves_nothing`] does. Not a test of its own: without the variable it does nothing.
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
    // The controls: before it is killed, all of it is there.
    assert!(processes_with(&marker) >= 3 * levels().len());
    assert!(!remains_of(&launchers).is_empty());
    host.kill().unwrap();
    host.wait().unwrap();
    eventually("the processes are gone", || processes_with(&marker) == 0);
    let alive = |pid: &u32| Path::new(&format!("/proc/{pid}")).exists();
    eventually("the launchers are gone", || !launchers.iter().any(alive));
    assert_eq!(remains_of(&launchers), Vec::<PathBuf>::new());
}

/// Which of an executor's two processes are killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victims {
    /// The one that makes cells.
    Launcher,
    /// Its parent.
    Keeper,
    /// Both at once: then only control groups tell which processes were theirs.
    Both,
}

/// The keepers of this process that have a descendant with the text among its arguments.
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
            // So that neither has the time to do anything.
            let both = [launchers[0], keeper];
            send("-STOP", &both);
            send("-KILL", &both);
        }
    }
}

/// Whether the cells of these keepers are in control groups.
fn has_groups(keepers: &BTreeSet<u32>) -> bool {
    remains_of(keepers).iter().any(|path| path.starts_with("/sys/fs/cgroup"))
}

/// A launcher that is killed itself takes its programs along at every level, nothing of theirs is
/// left, and the executor goes on.
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

/// A session of an executor whose launcher was killed: its end is noticed a moment later.
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

/// A program that outlives its launcher, and leads whoever removes its directory elsewhere. It is
/// killed first, and nothing is removed but what was the cell's.
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

/// Whether a process has a descendant with the text among its arguments.
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

/// Sessions that end at random points, in every way. It has a process of its own, so that what is open can be counted.
#[test]
fn fifty_sessions_leave_nothing() {
    let passed = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "remains::as_a_host_of_fifty", "--nocapture"])
        .env("CELLBLOCK_TEST_FIFTY", "1")
        .status()
        .unwrap();
    assert!(passed.success());
}

/// What the child of [`fifty_sessions_leave_nothing`] does. Not a test of its own: without the variable it does nothing.
#[tokio::test(flavor = "multi_thread")]
async fn as_a_host_of_fifty() {
    // The number of sessions can be another one, to look for slower leaks.
    let Ok(count) = std::env::var("CELLBLOCK_TEST_FIFTY") else { return };
    let count = count.parse::<u64>().unwrap_or(50).max(50);
    let open = |pid: u32| fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    let own = std::process::id();
    for level in [Isolation::Namespaces, Isolation::Landlock] {
        let executor = std::sync::Arc::new(executor(level).await);
        executor.open(SessionSpec::default()).await.unwrap().close().await.unwrap();
        let launchers = launchers_of(own);
        assert_eq!(launchers.len(), 1);
        // Time for the launcher to make the next process in advance.
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
                // Each second one is dropped somewhere between its start and its end.
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

/// Who is killed at a random moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Host,
    Launcher,
    Keeper,
    Driver,
}

/// What the child of [`kills_at_random_moments_leave_nothing`] does: sessions without end, a few at
/// once. Not a test of its own: without the variable it does nothing.
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
                // Whatever fails was killed from outside.
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

/// Groups and directories of keepers that are gone.
fn remains_of_the_dead() -> Vec<PathBuf> {
    let all = remains(|pid| !Path::new(&format!("/proc/{pid}")).exists());
    // What is being removed just now may be half gone.
    all.into_iter().filter(|path| path.exists()).collect()
}

/// Kills at random moments under load, of everything that could clean up. A variable sets how many
/// of each; 50 take some minutes.
#[test]
fn kills_at_random_moments_leave_nothing() {
    let count = std::env::var("CELLBLOCK_TEST_KILLS").ok().and_then(|text| text.parse().ok());
    // Not those of an engine, which another test may use at the same time.
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
                        // Any child of the launcher: a driver, or a process made in advance.
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

/// A number that differs each time.
fn random() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(0)
}
