//! What launchers that were killed have left: control groups with programs in them, and
//! directories.
//!
//! Programs may still be at work there. They are killed first, and a directory is touched only once
//! nothing is left in the groups of its launcher.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use cellblock_exec::Isolation;
use nix::unistd::Uid;

use super::{directory, wire::Facts};
use crate::groups;

/// How long the programs of a group may take to end after they were killed.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long is waited between two looks at a group.
const SOON: Duration = Duration::from_millis(5);

/// Removes what launchers have left that are gone.
pub(super) fn remove(facts: &Facts, temporary: &Path) {
    remove_of(facts, temporary, groups::is_gone);
}

/// Removes what this process's own launcher has left, which is gone.
pub(super) fn remove_own(facts: &Facts, temporary: &Path) {
    let own = owner(facts, facts.name.trim_start_matches("cellblock-"));
    remove_of(facts, temporary, |pid, started| own == Some((pid, started)));
}

fn remove_of(facts: &Facts, temporary: &Path, is_meant: impl Fn(i32, u64) -> bool) {
    let meant = |name: &str| owner(facts, name).filter(|(pid, started)| is_meant(*pid, *started));
    let mut alive = Vec::new();
    for name in groups::names(&facts.groups) {
        let Some(owner) = name.strip_prefix("cellblock-").and_then(meant) else { continue };
        if !end_group(facts, &name) {
            alive.push(owner);
        }
    }
    for entry in fs::read_dir(temporary).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_str().and_then(|name| name.strip_prefix("cellblock-cell-"));
        let Some(owner) = name.and_then(meant) else { continue };
        if !alive.contains(&owner) {
            // Another user's directory, whatever its name, cannot be removed with these rights. If
            // something else is in the way, the next launcher tries again.
            let _ = directory::remove(&entry.path(), Isolation::Landlock, Uid::effective());
        }
    }
}

/// Kills what is in a group and removes it. Returns whether that was possible.
fn end_group(facts: &Facts, name: &str) -> bool {
    let begin = Instant::now();
    while !groups::remove(&facts.groups, name) {
        if begin.elapsed() > PATIENCE {
            return false;
        }
        groups::kill(&facts.groups, name);
        std::thread::sleep(SOON);
    }
    true
}

/// Which keeper made something with this name: `<process namespace>-<pid>-<started>-<number>`.
/// Numbers of another process namespace mean nothing here.
fn owner(facts: &Facts, name: &str) -> Option<(i32, u64)> {
    let ours = facts.name.strip_prefix("cellblock-")?.split('-').next()?;
    let mut parts = name.split('-');
    (parts.next()? == ours).then_some(())?;
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}
