//! One cell's groups: a directory of the same name in each hierarchy.

use std::{fs, io, path::Path};

use nix::{errno::Errno, sys::signal::Signal, unistd::Pid};

use super::{Controller, Found};

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
    for pid in members(found, name) {
        let _ = nix::sys::signal::kill(Pid::from_raw(pid), Signal::SIGKILL);
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

/// Removes the empty groups of launchers that are gone. `owner` tells from a name which process made it.
pub(crate) fn sweep(found: &[Found], owner: impl Fn(&str) -> Option<(i32, u64)>) {
    for hierarchy in found {
        for entry in fs::read_dir(&hierarchy.base).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let dead =
                name.to_str().and_then(&owner).is_some_and(|(pid, started)| is_gone(pid, started));
            if dead {
                // A group that still has a process refuses.
                let _ = fs::remove_dir(entry.path());
            }
        }
    }
}
