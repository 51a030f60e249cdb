//! How cells end: what kills them, and what removes what is left of them.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use cellblock_exec::Isolation;
use nix::{
    sched::CloneFlags,
    sys::{
        signal::{Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};

use super::{
    cells::{Cells, Event},
    directory, remains, tree,
    wire::{Failure, Room},
};
use crate::{
    groups, inside,
    sys::{self, Forked},
};

/// How long is waited for the kernel to let go of a control group before that is told as a failure.
const PATIENCE: Duration = Duration::from_secs(10);

impl Cells {
    /// Kills the programs of a cell, but not its driver. If they have made too many files, they are held while these are
    /// removed.
    pub fn stop(&mut self, number: u64, too_much: Option<Room>) -> Option<Event> {
        let Some(driver) = self.cells.get(&number).and_then(|cell| cell.driver) else {
            return Some(Event::Done(number));
        };
        // Only these: the driver starts others as soon as it sees some end.
        let held = tree::hold_below(driver.as_raw());
        if let Some(room) = too_much {
            return self.trim(number, room, held);
        }
        tree::kill_held(driver.as_raw(), &held);
        Some(Event::Done(number))
    }

    /// Removes the newest files of a cell that has more than it may have, in a process of its own with the rights of the
    /// cell's programs: they may be at work on the same files, and lead whoever follows their paths elsewhere.
    pub fn trim(&mut self, number: u64, room: Room, held: Vec<i32>) -> Option<Event> {
        let cell = self.cells.get(&number).filter(|cell| !cell.ending && !cell.removing);
        let known = cell.and_then(|cell| cell.isolation.zip(cell.directory.as_ref()));
        let Some((isolation, path)) = known else {
            self.kill_held(number, &held);
            return Some(Event::Done(number));
        };
        match sys::fork_into(CloneFlags::empty()) {
            Ok(Forked::Child) => {
                let confined = inside::confine(isolation, self.user.0, path);
                sys::exit(i32::from(confined.is_err() || directory::trim(path, room).is_err()))
            }
            Ok(Forked::Parent(pid)) => {
                self.trimmers.insert(pid, (number, held));
                None
            }
            // The next look will ask again.
            Err(_) => {
                self.kill_held(number, &held);
                Some(Event::Done(number))
            }
        }
    }

    /// Kills programs of a cell that are held. Those whose driver has ended are killed as orphans.
    fn kill_held(&self, number: u64, held: &[i32]) {
        if let Some(driver) = self.cells.get(&number).and_then(|cell| cell.driver) {
            tree::kill_held(driver.as_raw(), held);
        }
    }

    /// Kills everything in a cell.
    pub fn halt(&mut self, number: u64) {
        let Some(cell) = self.cells.get(&number) else { return };
        if let Some(driver) = cell.driver {
            if cell.isolation != Some(Isolation::Namespaces) {
                tree::kill_below(driver.as_raw());
            }
            // In namespaces the kernel kills all others with the first.
            let _ = kill(driver, Signal::SIGKILL);
        }
    }

    /// Kills everything in a cell; [`settle`](Self::settle) tells when nothing is left.
    pub fn end(&mut self, number: u64) {
        self.cells.entry(number).or_default().ending = true;
        self.halt(number);
    }

    /// Ends all cells, for a host that is gone.
    pub fn end_all(&mut self) {
        self.discard();
        let numbers: Vec<_> = self.cells.keys().copied().collect();
        numbers.into_iter().for_each(|number| self.end(number));
    }

    /// Whether there is no cell left, and nothing to be removed.
    pub fn are_gone(&self) -> bool {
        self.cells.is_empty()
            && self.unused.is_empty()
            && self.sweepers.is_empty()
            && self.trimmers.is_empty()
    }

    /// Takes note of processes that have ended.
    pub fn reap(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        loop {
            let ended = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid, code),
                Ok(WaitStatus::Signaled(pid, _, _)) => (pid, -1),
                Ok(WaitStatus::StillAlive) | Err(_) => break,
                Ok(_) => continue,
            };
            events.extend(self.ended(ended.0, ended.1));
        }
        self.kill_orphans();
        events
    }

    fn ended(&mut self, pid: Pid, code: i32) -> Option<Event> {
        if let Some((number, held)) = self.trimmers.remove(&pid) {
            self.kill_held(number, &held);
            return Some(Event::Done(number));
        }
        if let Some(number) = self.sweepers.remove(&pid) {
            let cell = self.cells.get_mut(&number)?;
            let path = cell.directory.take();
            cell.removing = false;
            if code != 0 {
                let step = format!("remove {}", path.unwrap_or_default().display());
                let reason = "what is left must be removed by hand".to_owned();
                cell.problem = Some(Failure { step, errno: 0, reason });
            }
        } else if let Some((number, cell)) =
            self.cells.iter_mut().find(|(_, cell)| cell.driver == Some(pid))
        {
            cell.driver = None;
            cell.since = Some(Instant::now());
            let killed = |group: &String| groups::kills(&self.facts.groups, group) > 0;
            return Some(Event::Died(*number, cell.group.as_ref().is_some_and(killed)));
        } else if self.spare.as_ref().is_some_and(|spare| spare.pid == pid) {
            self.unused.extend(self.spare.take().and_then(|spare| spare.group));
        }
        None
    }

    /// Processes whose driver has ended come to this process, which knows its own: all others are killed.
    fn kill_orphans(&self) {
        for pid in self.orphans() {
            tree::kill_below(pid);
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }

    fn orphans(&self) -> Vec<i32> {
        let known = |pid: i32| {
            let pid = Pid::from_raw(pid);
            self.sweepers.contains_key(&pid)
                || self.trimmers.contains_key(&pid)
                || self.spare.as_ref().is_some_and(|spare| spare.pid == pid)
                || self.cells.values().any(|cell| cell.driver == Some(pid))
        };
        tree::children(std::process::id() as i32).into_iter().filter(|pid| !known(*pid)).collect()
    }

    /// Goes on with what was waiting for the end of a process or a group. Whether something still waits is for
    /// [`is_waiting`](Self::is_waiting) to tell.
    pub fn settle(&mut self) -> Vec<Event> {
        self.unused.retain(|group| !groups::remove(&self.facts.groups, group));
        let mut events = Vec::new();
        // Processes that lost their driver are killed, but may not have ended. They must not be at work on a directory that
        // is being removed, and nobody knows whose they are.
        self.busy =
            self.cells.values().any(|cell| cell.directory.is_some() && cell.driver.is_none())
                && !self.orphans().is_empty();
        let trimmed: Vec<u64> = self.trimmers.values().map(|(number, _)| *number).collect();
        let numbers: Vec<_> =
            self.cells.iter().filter(|(_, cell)| cell.driver.is_none()).map(|(n, _)| *n).collect();
        for number in numbers {
            let Some(cell) = self.cells.get_mut(&number) else { continue };
            if let Some(group) = &cell.group {
                if !groups::remove(&self.facts.groups, group) {
                    groups::kill(&self.facts.groups, group);
                    if cell.since.is_none_or(|since| since.elapsed() < PATIENCE) {
                        continue;
                    }
                    let (step, reason) =
                        (format!("remove the control group {group}"), "it is in use".to_owned());
                    cell.problem = Some(Failure { step, errno: 0, reason });
                }
                cell.group = None;
            }
            if trimmed.contains(&number) {
                continue;
            }
            if !cell.ending {
                if self.busy && cell.next.is_some() {
                    self.kill_orphans();
                    continue;
                }
                if let Some((start, descriptors)) = cell.next.take() {
                    let started = self.begin(start, descriptors);
                    events.push(Event::Started(number, started));
                }
                continue;
            }
            if let Some(path) = cell.directory.clone() {
                if self.busy {
                    self.kill_orphans();
                    continue;
                }
                if !cell.removing {
                    cell.removing = true;
                    self.sweep(number, &path);
                }
                continue;
            }
            // It is empty unless something was installed.
            if let Some(path) = cell.packages.take()
                && fs::remove_dir(&path).is_err()
                && path.exists()
            {
                cell.directory = Some(path);
                cell.removing = true;
                let path = cell.directory.clone().unwrap_or_default();
                self.sweep(number, &path);
                continue;
            }
            let problem = cell.problem.take();
            self.cells.remove(&number);
            events.push(Event::Ended(number, problem));
        }
        events
    }

    /// Whether something must be looked at again soon.
    pub fn is_waiting(&self) -> bool {
        self.busy
            || !self.unused.is_empty()
            || self.cells.values().any(|cell| cell.driver.is_none() && cell.group.is_some())
    }

    /// Removes what launchers that were killed have left: their groups, and their directories in `temporary`.
    pub fn sweep_remains(&mut self, temporary: &Path) {
        match sys::fork_into(CloneFlags::empty()) {
            Ok(Forked::Child) => {
                remains::remove(&self.facts, temporary);
                sys::exit(0)
            }
            Ok(Forked::Parent(pid)) => {
                // No cell has this number.
                self.sweepers.insert(pid, u64::MAX);
            }
            // The next launcher will try again.
            Err(_) => {}
        }
    }

    /// Removes a directory in a process of its own: it may hold many files, and other cells must
    /// not wait.
    fn sweep(&mut self, number: u64, path: &Path) {
        let isolation = self.cells.get(&number).and_then(|cell| cell.isolation);
        let isolation = isolation.unwrap_or(Isolation::Landlock);
        match sys::fork_into(CloneFlags::empty()) {
            Ok(Forked::Child) => {
                sys::exit(i32::from(directory::remove(path, isolation, self.user.0).is_err()))
            }
            Ok(Forked::Parent(pid)) => {
                self.sweepers.insert(pid, number);
            }
            Err(error) => {
                if let Some(cell) = self.cells.get_mut(&number) {
                    let (step, reason) = (format!("remove {}", path.display()), error.to_string());
                    cell.directory = None;
                    cell.removing = false;
                    cell.problem = Some(Failure { step, errno: error as i32, reason });
                }
            }
        }
    }
}
