//! Processes as `/proc` shows them: start times, parents and descendants.

use std::{collections::HashSet, fs};

use nix::{errno::Errno, sys::signal::kill, unistd::Pid};

/// The fields of `/proc/<pid>/stat` that follow the name.
pub struct Stat(Vec<String>);

impl Stat {
    /// Reads the fields; `None` once the process is gone.
    pub fn read(pid: i32) -> Option<Self> {
        let text = fs::read(format!("/proc/{pid}/stat")).ok()?;
        let text = String::from_utf8_lossy(&text);
        // The name may contain spaces and parentheses.
        let (_, fields) = text.rsplit_once(')')?;
        Some(Self(fields.split_whitespace().map(str::to_owned).collect()))
    }

    /// Returns the field with this number, as proc(5) counts them: the first one here is 3.
    pub fn field(&self, number: usize) -> Option<u64> {
        self.0.get(number - 3)?.parse().ok()
    }

    /// Returns the state, a letter of proc(5).
    fn state(&self) -> Option<&str> {
        self.0.first().map(String::as_str)
    }
}

/// Returns when a process started, in ticks since the machine did.
pub fn started(pid: i32) -> Option<u64> {
    Stat::read(pid)?.field(22)
}

/// Returns the parent of a process.
pub fn parent(pid: i32) -> Option<i32> {
    i32::try_from(Stat::read(pid)?.field(4)?).ok()
}

/// True if the process with this number that started at this time is gone: it has ended, and its
/// parent has waited for it.
pub fn is_gone(pid: i32, start: u64) -> bool {
    match kill(Pid::from_raw(pid), None) {
        Err(Errno::ESRCH) => true,
        _ => started(pid).is_some_and(|now| now != start),
    }
}

/// True if a process has ended, and its parent has not waited for it yet.
pub fn is_zombie(pid: i32) -> bool {
    Stat::read(pid).is_some_and(|stat| stat.state() == Some("Z"))
}

/// Returns the children of a process, of all of its threads.
pub fn children(pid: i32) -> Vec<i32> {
    let mut children = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let text = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        children.extend(text.split_whitespace().filter_map(|pid| pid.parse::<i32>().ok()));
    }
    children
}

/// Returns everything below a process, without the process itself.
pub fn descendants(pid: i32) -> Vec<i32> {
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

/// Returns the number of tasks that a user has on this machine.
pub fn tasks_of(user: u32) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter(|entry| entry.metadata().is_ok_and(|found| found.uid() == user))
        .map(|entry| {
            fs::read_dir(entry.path().join("task")).map_or(0, |tasks| tasks.count() as u64)
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_can_be_read() {
        let own = std::process::id() as i32;
        assert!(started(own).unwrap() > 0);
        assert_eq!(parent(own).unwrap(), nix::unistd::getppid().as_raw());
        assert!(!is_gone(own, started(own).unwrap()));
        assert!(is_gone(own, 1));
    }

    #[test]
    fn a_process_is_gone_once_its_parent_has_waited() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = child.id() as i32;
        let start = started(pid).unwrap();
        assert!(!is_zombie(pid) && !is_gone(pid, start));
        child.kill().unwrap();
        // Until the signal has arrived. Nobody waits for the child meanwhile.
        for _ in 0..2000 {
            if is_zombie(pid) {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert!(is_zombie(pid) && !is_gone(pid, start));
        child.wait().unwrap();
        assert!(!is_zombie(pid) && is_gone(pid, start));
    }
}
