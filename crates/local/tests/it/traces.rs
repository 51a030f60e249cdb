//! Helpers for tests of what executors leave on the host: programs that are hard to kill, and the
//! processes, control groups and directories of executors.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use cellblock_exec::{ExecutionRequest, Session};

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

pub fn hydra(marker: &str) -> String {
    HYDRA.replace("MARKER", &format!("{marker:?}"))
}

/// Returns the control groups and directories that these keepers have made.
pub fn remains_of(keepers: &BTreeSet<u32>) -> Vec<PathBuf> {
    remains(|pid| keepers.contains(&pid))
}

/// Returns the control groups and directories of the keepers for which `is_meant` returns true.
pub fn remains(is_meant: impl Fn(u32) -> bool) -> Vec<PathBuf> {
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
pub fn launchers_of(parent: u32) -> BTreeSet<u32> {
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
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(10), "not within ten seconds: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub async fn run(session: &mut dyn Session, code: &str) -> String {
    let result = session.execute(ExecutionRequest::python(code)).await.unwrap();
    assert!(result.outcome.is_success(), "{:?} {}", result.outcome, result.stderr.text());
    result.stdout.text()
}

/// The processes of an executor that a test kills.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Victims {
    /// The process that makes cells.
    Launcher,
    /// The parent of the launcher.
    Keeper,
    /// Both at once: then only control groups show which processes were theirs.
    Both,
}

/// Returns the keepers of this process that have a descendant with this text among its arguments.
pub fn keepers_with(marker: &str) -> BTreeSet<u32> {
    let all = launchers_of(std::process::id()).into_iter();
    all.filter(|keeper| descends_with(*keeper, marker)).collect()
}

fn send(signal: &str, pids: &[u32]) {
    let pids = pids.iter().map(ToString::to_string);
    assert!(Command::new("kill").arg(signal).args(pids).status().unwrap().success());
}

pub fn kill(victims: Victims, keeper: u32) {
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
pub fn has_groups(keepers: &BTreeSet<u32>) -> bool {
    remains_of(keepers).iter().any(|path| path.starts_with("/sys/fs/cgroup"))
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
