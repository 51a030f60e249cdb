//! Killing processes that share the host's process numbers: everything below one of them.

use std::{collections::HashSet, fs, os::fd::AsFd};

use nix::{libc, unistd::Pid};

use crate::sys;

/// How often the tree is looked through for processes that were made meanwhile. Each round stops all it finds, so a
/// program that forks as fast as it can loses after a few.
const ROUNDS: usize = 200;

/// The children of a process, from all of its threads.
pub(crate) fn children(pid: i32) -> Vec<i32> {
    let mut children = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let text = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        children.extend(text.split_whitespace().filter_map(|pid| pid.parse::<i32>().ok()));
    }
    children
}

/// Everything below a process, without it.
pub(crate) fn descendants(pid: i32) -> Vec<i32> {
    let mut found = Vec::new();
    let mut waiting = vec![pid];
    let mut seen = HashSet::from([pid]);
    while let Some(next) = waiting.pop() {
        for child in children(next) {
            if seen.insert(child) {
                found.push(child);
                waiting.push(child);
            }
        }
    }
    found
}

/// Stops everything below a process, so that it makes no more processes and changes nothing. Gives what was stopped.
pub(crate) fn hold_below(root: i32) -> Vec<i32> {
    let mut held = HashSet::new();
    for _ in 0..ROUNDS {
        let new: Vec<_> = descendants(root).into_iter().filter(|pid| !held.contains(pid)).collect();
        if new.is_empty() {
            break;
        }
        for pid in new {
            signal(pid, root, libc::SIGSTOP);
            held.insert(pid);
        }
    }
    held.into_iter().collect()
}

/// Kills those of the processes that are still below `root`: what was stopped.
pub(crate) fn kill_held(root: i32, held: &[i32]) {
    held.iter().for_each(|pid| signal(*pid, root, libc::SIGKILL));
}

/// Kills everything below a process, but not itself.
pub(crate) fn kill_below(root: i32) {
    hold_below(root);
    kill_held(root, &descendants(root));
}

/// Signals a process that was seen below `root`. Its number may have passed to another meanwhile,
/// so the process is held before its parents are looked at once more.
fn signal(pid: i32, root: i32, signal: i32) {
    let Ok(process) = sys::open_process(Pid::from_raw(pid)) else { return };
    if is_below(pid, root) {
        let _ = sys::signal_process(process.as_fd(), signal);
    }
}

fn is_below(pid: i32, root: i32) -> bool {
    let mut at = pid;
    // A chain of parents is short; a changing one must not hold us.
    for _ in 0..4096 {
        match crate::watch::parent(at) {
            Some(parent) if parent == root => return true,
            Some(parent) if parent > 1 => at = parent,
            _ => return false,
        }
    }
    false
}
