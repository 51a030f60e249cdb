//! The remains of launchers that were killed: control groups with programs in them, and
//! directories.
//!
//! Programs may still be running there. They are killed first, and a directory is touched only once
//! no process remains in the groups of its launcher.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use cellblock_exec::Isolation;
use nix::{
    sched::CloneFlags,
    unistd::{Pid, Uid},
};

use super::directory;
use crate::{groups, procfs, protocol::HostFacts, sys};

/// The maximum time for the programs of a group to end after they were killed.
const KILL_TIMEOUT: Duration = Duration::from_secs(10);

/// The pause between two looks at a group.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Forks a process that removes the remains of launchers that are gone: their groups, and their
/// directories in `temporary`.
pub fn fork_removal(facts: &HostFacts, temporary: &Path) -> nix::Result<Pid> {
    sys::fork(CloneFlags::empty(), || {
        remove(facts, temporary, has_ended);
        0
    })
}

/// True if a keeper is gone. Its host waits for it as soon as its launcher has ended, too, but a
/// busy host may be slow: what it leaves meanwhile would stay until the launcher after this one.
fn has_ended(pid: i32, started: u64) -> bool {
    let begin = Instant::now();
    while !procfs::is_gone(pid, started) {
        if !procfs::is_zombie(pid) || begin.elapsed() > KILL_TIMEOUT {
            return false;
        }
        std::thread::sleep(POLL_INTERVAL);
    }
    true
}

/// Removes the remains of this process's own launcher, which is gone.
pub fn remove_own(facts: &HostFacts, temporary: &Path) {
    let own = keeper_of(facts, facts.name.trim_start_matches("cellblock-"));
    remove(facts, temporary, |pid, started| own == Some((pid, started)));
}

/// Removes the groups and directories of the keepers for which `is_meant` returns true, given their
/// process number and start time.
fn remove(facts: &HostFacts, temporary: &Path, is_meant: impl Fn(i32, u64) -> bool) {
    let keeper =
        |name: &str| keeper_of(facts, name).filter(|(pid, started)| is_meant(*pid, *started));
    let mut alive = Vec::new();
    for name in groups::names(&facts.groups) {
        let Some(keeper) = name.strip_prefix("cellblock-").and_then(keeper) else { continue };
        if !end_group(facts, &name) {
            alive.push(keeper);
        }
    }
    for entry in fs::read_dir(temporary).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_str().and_then(|name| name.strip_prefix("cellblock-cell-"));
        let Some(keeper) = name.and_then(keeper) else { continue };
        if !alive.contains(&keeper) {
            // Another user's directory, whatever its name, cannot be removed with these rights. If
            // something else prevents it, the next launcher tries again.
            let _ = directory::remove(&entry.path(), Isolation::Landlock, Uid::effective());
        }
    }
}

/// Kills the processes in a group and removes it. Returns true if that succeeded in time.
fn end_group(facts: &HostFacts, name: &str) -> bool {
    let begin = Instant::now();
    while !groups::remove(&facts.groups, name) {
        if begin.elapsed() > KILL_TIMEOUT {
            return false;
        }
        groups::kill(&facts.groups, name);
        std::thread::sleep(POLL_INTERVAL);
    }
    true
}

/// Returns the keeper that made something with this name, `<process
/// namespace>-<pid>-<started>-<number>`. Process numbers of another namespace mean nothing here.
fn keeper_of(facts: &HostFacts, name: &str) -> Option<(i32, u64)> {
    let ours = facts.name.strip_prefix("cellblock-")?.split('-').next()?;
    let mut parts = name.split('-');
    (parts.next()? == ours).then_some(())?;
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}
