//! Killing processes that share the host's process numbers: everything below one of them.

use std::{collections::HashSet, os::fd::AsFd};

use nix::{sys::signal::Signal, unistd::Pid};

use crate::{
    procfs::{descendants, parent},
    sys,
};

/// The maximum number of searches for processes that were made during the last one. Each search
/// stops all that it finds, so a program that forks as fast as it can loses after a few.
const MAX_SEARCHES: usize = 200;

/// The maximum length of a chain of parents. A real one is short; a program that changes it must
/// not hold us.
const MAX_PARENTS: usize = 4096;

/// Stops everything below a process, so that it makes no more processes and changes nothing.
/// Returns the processes that were stopped.
pub fn hold_below(root: i32) -> Vec<i32> {
    let mut held = HashSet::new();
    for _ in 0..MAX_SEARCHES {
        let new: Vec<_> = descendants(root).into_iter().filter(|pid| !held.contains(pid)).collect();
        if new.is_empty() {
            break;
        }
        for pid in new {
            signal(pid, root, Signal::SIGSTOP);
            held.insert(pid);
        }
    }
    held.into_iter().collect()
}

/// Kills the held processes that are still below `root`.
pub fn kill_held(root: i32, held: &[i32]) {
    held.iter().for_each(|pid| signal(*pid, root, Signal::SIGKILL));
}

/// Kills everything below a process, but not the process itself.
pub fn kill_below(root: i32) {
    hold_below(root);
    kill_held(root, &descendants(root));
}

/// Signals a process that was seen below `root`. Its number may have passed to another process, so
/// it is opened first, and then its parents are looked at once more.
fn signal(pid: i32, root: i32, signal: Signal) {
    let Ok(process) = sys::open_process(Pid::from_raw(pid)) else { return };
    if is_below(pid, root) {
        let _ = sys::signal_process(process.as_fd(), signal);
    }
}

fn is_below(pid: i32, root: i32) -> bool {
    let mut at = pid;
    for _ in 0..MAX_PARENTS {
        match parent(at) {
            Some(parent) if parent == root => return true,
            Some(parent) if parent > 1 => at = parent,
            _ => return false,
        }
    }
    false
}
