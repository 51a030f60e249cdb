//! One cell's groups: a directory of the same name in each hierarchy.

use std::{collections::BTreeSet, fs, io, os::fd::AsFd as _, path::Path};

use nix::{errno::Errno, libc, unistd::Pid};

use super::{Controller, Found};
use crate::sys;

/// Makes the groups called `name`. On failure none is left.
pub(crate) fn make(found: &[Found], name: &str) -> io::Result<()> {
    for hierarchy in found {
        if let Err(error) = fs::create_dir(hierarchy.base.join(name)) {
            remove(found, name);
            return Err(error);
        }
    }
    Ok(())
}

/// Sets limits: bytes of memory, and a number of tasks. `None` leaves a thing unlimited.
pub(crate) fn limit(
    found: &[Found],
    name: &str,
    memory: Option<u64>,
    tasks: Option<u64>,
) -> io::Result<()> {
    for hierarchy in found {
        let directory = hierarchy.base.join(name);
        if let Some(bytes) = memory.filter(|_| hierarchy.controllers.contains(&Controller::Memory))
        {
            limit_memory(&directory, hierarchy.unified, bytes)?;
        }
        if let Some(tasks) = tasks.filter(|_| hierarchy.controllers.contains(&Controller::Pids)) {
            fs::write(directory.join("pids.max"), tasks.to_string())?;
        }
    }
    Ok(())
}

/// Limits memory, swapped memory included: otherwise a program would go on in the host's swap.
fn limit_memory(directory: &Path, unified: bool, bytes: u64) -> io::Result<()> {
    let bytes = bytes.to_string();
    // Where swap is not counted (no such file), asking the kernel not to swap is the best there is.
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

/// Writes to a file that must be there already.
fn write_existing(path: &Path, text: &str) -> io::Result<()> {
    io::Write::write_all(&mut fs::OpenOptions::new().write(true).open(path)?, text.as_bytes())
}

/// Moves the calling process into the groups.
pub(crate) fn enter(found: &[Found], name: &str) -> io::Result<()> {
    found.iter().try_for_each(|hierarchy| {
        write_existing(&hierarchy.base.join(name).join("cgroup.procs"), "0")
    })
}

/// Removes the groups; those that still have processes stay. Whether none is left.
pub(crate) fn remove(found: &[Found], name: &str) -> bool {
    let mut none_left = true;
    for hierarchy in found {
        match fs::remove_dir(hierarchy.base.join(name)) {
            Ok(()) => {}
            Err(error) => none_left &= error.kind() == io::ErrorKind::NotFound,
        }
    }
    none_left
}

/// The processes in the groups, by their numbers as this process sees them.
fn members(found: &[Found], name: &str) -> Vec<i32> {
    let Some(hierarchy) = found.first() else { return Vec::new() };
    let text =
        fs::read_to_string(hierarchy.base.join(name).join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0).collect()
}

/// Kills every process in the groups.
pub(crate) fn kill(found: &[Found], name: &str) {
    for hierarchy in found {
        let directory = hierarchy.base.join(name);
        if hierarchy.unified && write_existing(&directory.join("cgroup.kill"), "1").is_ok() {
            return;
        }
        // Nothing forks any more while we go through them.
        let _ = write_existing(&directory.join("pids.max"), "0");
    }
    let opened = members(found, name).into_iter();
    let opened = opened.filter_map(|pid| Some((pid, sys::open_process(Pid::from_raw(pid)).ok()?)));
    let opened: Vec<_> = opened.collect();
    // A number may have passed to another process before it was opened, but not afterwards.
    let members: BTreeSet<_> = members(found, name).into_iter().collect();
    for (_, process) in opened.iter().filter(|(pid, _)| members.contains(pid)) {
        let _ = sys::signal_process(process.as_fd(), libc::SIGKILL);
    }
}

/// How many processes the kernel has killed because the group reached its limit on memory.
pub(crate) fn kills(found: &[Found], name: &str) -> u64 {
    let memory = found.iter().find(|hierarchy| hierarchy.controllers.contains(&Controller::Memory));
    memory.map_or(0, |hierarchy| kills_in(&hierarchy.base.join(name), hierarchy.unified))
}

/// As [`kills`], of the group with this directory.
pub(crate) fn kills_in(directory: &Path, unified: bool) -> u64 {
    let file = if unified { "memory.events" } else { "memory.oom_control" };
    let text = fs::read_to_string(directory.join(file)).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    line.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
}

/// Whether the process with this number that started at this time is gone.
pub(crate) fn is_gone(pid: i32, started: u64) -> bool {
    match nix::sys::signal::kill(Pid::from_raw(pid), None) {
        Err(Errno::ESRCH) => true,
        _ => crate::watch::started(pid).is_some_and(|now| now != started),
    }
}

/// The names of all groups in these hierarchies.
pub(crate) fn names(found: &[Found]) -> BTreeSet<String> {
    let entries = |hierarchy: &Found| fs::read_dir(&hierarchy.base).into_iter().flatten().flatten();
    let names = found.iter().flat_map(entries).map(|entry| entry.file_name().into_string());
    names.filter_map(Result::ok).collect()
}
