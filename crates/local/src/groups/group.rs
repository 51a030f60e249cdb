//! The control groups of one cell: a directory of the same name in each hierarchy.

use std::{collections::BTreeSet, fs, io, os::fd::AsFd as _, path::Path};

use nix::{sys::signal::Signal, unistd::Pid};

use super::hierarchy::{Controller, Hierarchy};
use crate::sys;

/// Makes the groups called `name`. If that fails, none remains.
pub fn make(hierarchies: &[Hierarchy], name: &str) -> io::Result<()> {
    for hierarchy in hierarchies {
        if let Err(error) = fs::create_dir(hierarchy.base.join(name)) {
            remove(hierarchies, name);
            return Err(error);
        }
    }
    Ok(())
}

/// Sets the limits: bytes of memory, and a number of tasks. `None` is no limit.
pub fn limit(
    hierarchies: &[Hierarchy],
    name: &str,
    memory: Option<u64>,
    tasks: Option<u64>,
) -> io::Result<()> {
    for hierarchy in hierarchies {
        let directory = hierarchy.base.join(name);
        if let Some(bytes) = memory.filter(|_| hierarchy.has(Controller::Memory)) {
            limit_memory(&directory, hierarchy.unified, bytes)?;
        }
        if let Some(tasks) = tasks.filter(|_| hierarchy.has(Controller::Pids)) {
            fs::write(directory.join("pids.max"), tasks.to_string())?;
        }
    }
    Ok(())
}

/// Limits memory and swapped memory: otherwise a program would continue in the host's swap.
fn limit_memory(directory: &Path, unified: bool, bytes: u64) -> io::Result<()> {
    let bytes = bytes.to_string();
    // If swap is not counted (no such file), all we can do is ask the kernel not to swap.
    let optional = |result: io::Result<()>| match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    };
    if unified {
        fs::write(directory.join("memory.max"), &bytes)?;
        return optional(write_existing(&directory.join("memory.swap.max"), "0"));
    }
    fs::write(directory.join("memory.limit_in_bytes"), &bytes)?;
    optional(write_existing(&directory.join("memory.memsw.limit_in_bytes"), &bytes))?;
    optional(write_existing(&directory.join("memory.swappiness"), "0"))
}

/// Writes to a file that must exist already.
fn write_existing(path: &Path, text: &str) -> io::Result<()> {
    io::Write::write_all(&mut fs::OpenOptions::new().write(true).open(path)?, text.as_bytes())
}

/// Moves the calling process into the groups.
pub fn enter(hierarchies: &[Hierarchy], name: &str) -> io::Result<()> {
    hierarchies.iter().try_for_each(|hierarchy| {
        write_existing(&hierarchy.base.join(name).join("cgroup.procs"), "0")
    })
}

/// Removes the groups, except those that still have processes. Returns true if none remains.
pub fn remove(hierarchies: &[Hierarchy], name: &str) -> bool {
    let mut removed = true;
    for hierarchy in hierarchies {
        match fs::remove_dir(hierarchy.base.join(name)) {
            Ok(()) => {}
            Err(error) => removed &= error.kind() == io::ErrorKind::NotFound,
        }
    }
    removed
}

/// Returns the processes in the groups, by their numbers as this process sees them.
fn members(hierarchies: &[Hierarchy], name: &str) -> Vec<i32> {
    let Some(hierarchy) = hierarchies.first() else { return Vec::new() };
    let text =
        fs::read_to_string(hierarchy.base.join(name).join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0).collect()
}

/// Kills every process in the groups.
pub fn kill(hierarchies: &[Hierarchy], name: &str) {
    for hierarchy in hierarchies {
        let directory = hierarchy.base.join(name);
        if hierarchy.unified && write_existing(&directory.join("cgroup.kill"), "1").is_ok() {
            return;
        }
        // No process of the group can fork while we go through them.
        let _ = write_existing(&directory.join("pids.max"), "0");
    }
    let opened = members(hierarchies, name).into_iter();
    let opened = opened.filter_map(|pid| Some((pid, sys::open_process(Pid::from_raw(pid)).ok()?)));
    let opened: Vec<_> = opened.collect();
    // Before a process was opened, its number may have passed to another process, but not after.
    let members: BTreeSet<_> = members(hierarchies, name).into_iter().collect();
    for (_, process) in opened.iter().filter(|(pid, _)| members.contains(pid)) {
        let _ = sys::signal_process(process.as_fd(), Signal::SIGKILL);
    }
}

/// Returns the number of processes that the kernel has killed because the group reached its limit
/// on memory.
pub fn oom_kills(hierarchies: &[Hierarchy], name: &str) -> u64 {
    let memory = hierarchies.iter().find(|hierarchy| hierarchy.has(Controller::Memory));
    memory.map_or(0, |hierarchy| oom_kills_in(&hierarchy.base.join(name), hierarchy.unified))
}

/// Returns the same as [`oom_kills`], for the group with this directory.
pub fn oom_kills_in(directory: &Path, unified: bool) -> u64 {
    let file = if unified { "memory.events" } else { "memory.oom_control" };
    let text = fs::read_to_string(directory.join(file)).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    line.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
}

/// Returns the names of all groups in these hierarchies.
pub fn names(hierarchies: &[Hierarchy]) -> BTreeSet<String> {
    let entries =
        |hierarchy: &Hierarchy| fs::read_dir(&hierarchy.base).into_iter().flatten().flatten();
    let names = hierarchies.iter().flat_map(entries).map(|entry| entry.file_name().into_string());
    names.filter_map(Result::ok).collect()
}
