//! The cells of a launcher: how they start and how they end.
//!
//! A request or the end of a process changes a cell's state; [`Cells::settle`] then takes each cell
//! as far as it can get. Work that may take long is done by child processes: removing a directory,
//! and trimming one.

use std::{
    collections::HashMap,
    fs,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use cellblock_exec::Isolation;
use nix::{
    sys::{
        signal::{Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{Pid, Uid},
};

use super::{
    directory, remains,
    spare::{SpareProcess, Spares},
    tree, trim,
};
use crate::{
    failure::{Failure, StepContext},
    groups, procfs,
    protocol::{CellKind, CellStart, DriverProcess, FileLimits, HostFacts, Reply},
    sys,
};

/// The maximum time for the kernel to release a control group. After that it is reported as a
/// failure.
const GROUP_TIMEOUT: Duration = Duration::from_secs(10);

/// The cells of a launcher, and the processes that work for them.
pub struct Cells {
    facts: HostFacts,
    user: Uid,
    spares: Spares,
    cells: HashMap<u64, CellState>,
    /// Processes that remove the directory of a cell, or the remains of earlier launchers (`None`).
    removers: HashMap<Pid, Option<u64>>,
    /// Processes that trim the directory of a cell.
    trimmers: HashMap<Pid, Trimmer>,
    /// True if processes that lost their driver have not ended yet.
    has_orphans: bool,
}

/// A process that trims the directory of a cell.
struct Trimmer {
    cell: u64,
    /// The programs to kill when it has ended.
    held: Vec<i32>,
}

/// The state of one cell.
#[derive(Default)]
struct CellState {
    isolation: Option<Isolation>,
    /// The first process, until it has ended.
    driver: Option<Pid>,
    group: Option<String>,
    directory: Option<PathBuf>,
    /// The directory of its packages.
    packages: Option<PathBuf>,
    /// True while a process removes the directory.
    removing: bool,
    /// True if the host waits for the end of the cell.
    ending: bool,
    /// The time at which the driver ended.
    driver_ended: Option<Instant>,
    /// The step of the removal that failed, if one did.
    problem: Option<Failure>,
    /// A start that waits until everything of the previous driver is gone.
    next: Option<(CellStart, [OwnedFd; 3])>,
}

impl Cells {
    /// Returns a launcher's cells; there are none yet. `launcher` is readable once it has ended.
    pub fn new(facts: HostFacts, launcher: OwnedFd) -> Self {
        Self {
            spares: Spares::new(facts.clone(), launcher),
            facts,
            user: Uid::effective(),
            cells: HashMap::new(),
            removers: HashMap::new(),
            trimmers: HashMap::new(),
            has_orphans: false,
        }
    }

    /// Returns what was found on this machine.
    pub fn facts(&self) -> &HostFacts {
        &self.facts
    }

    /// Makes a first process before a session needs it.
    pub fn prepare(&mut self, kind: CellKind) {
        self.spares.prepare(kind);
    }

    /// Starts a cell, or schedules its start for when its previous driver is gone.
    pub fn start(&mut self, start: CellStart, descriptors: [OwnedFd; 3]) -> Option<Reply> {
        let cell = start.cell;
        let state = self.cells.entry(cell).or_default();
        if state.driver.is_some() || state.group.is_some() {
            state.next = Some((start, descriptors));
            self.halt(cell);
            return None;
        }
        let process = self.begin(start, descriptors);
        Some(Reply::Started { cell, process })
    }

    fn begin(
        &mut self,
        start: CellStart,
        descriptors: [OwnedFd; 3],
    ) -> Result<DriverProcess, Failure> {
        self.make_directories(&start)?;
        let SpareProcess { pid, socket, group, .. } = self.spares.take(&start.kind)?;
        let started = procfs::started(pid.as_raw()).unwrap_or(0);
        if let Some(state) = self.cells.get_mut(&start.cell) {
            state.driver = Some(pid);
            state.group = group.clone();
            state.driver_ended = None;
        }
        let limited = group.as_deref().map_or(Ok(()), |group| {
            groups::limit(&self.facts.groups, group, start.memory, start.tasks)
                .step(|| "set the limits of a control group".to_owned())
        });
        let sent = limited.and_then(|()| {
            let descriptors = [0, 1, 2].map(|at: usize| descriptors[at].as_fd());
            sys::send(socket.as_fd(), b"start", &descriptors)
                .step(|| "hand a session over".to_owned())
        });
        if let Err(failure) = sent {
            let _ = kill(pid, Signal::SIGKILL);
            return Err(failure);
        }
        Ok(DriverProcess { pid: pid.as_raw(), started, group })
    }

    /// Makes the directories of a cell that has none yet. One that exists already belongs to
    /// somebody else, and is an error.
    fn make_directories(&mut self, start: &CellStart) -> Result<(), Failure> {
        let state = self.cells.entry(start.cell).or_default();
        state.isolation = Some(start.kind.isolation);
        let step = |path: &Path| format!("make {}", path.display());
        if let (Some(path), None) = (&start.directory, &state.directory) {
            let top = directory::make(path).step(|| step(path))?;
            state.directory = Some(path.clone());
            directory::fill(&top, self.user, start.kind.python.as_deref()).step(|| step(path))?;
        }
        if let (Some(path), None) = (&start.packages, &state.packages) {
            directory::make_for_packages(path).step(|| step(path))?;
            state.packages = Some(path.clone());
        }
        Ok(())
    }

    /// Kills the programs of a cell, but not its driver. With limits, the programs are held while
    /// files above the limits are removed, and killed then.
    pub fn stop(&mut self, cell: u64, limits: Option<FileLimits>) -> Option<Reply> {
        let Some(driver) = self.cells.get(&cell).and_then(|state| state.driver) else {
            return Some(Reply::Done(cell));
        };
        let held = tree::hold_below(driver.as_raw());
        if let Some(limits) = limits {
            return self.trim_and_kill(cell, limits, held);
        }
        // Only these: the driver starts others as soon as it sees some end.
        tree::kill_held(driver.as_raw(), &held);
        Some(Reply::Done(cell))
    }

    /// Removes the newest files of a cell that has more than its limits allow.
    pub fn trim(&mut self, cell: u64, limits: FileLimits) -> Option<Reply> {
        self.trim_and_kill(cell, limits, Vec::new())
    }

    fn trim_and_kill(&mut self, cell: u64, limits: FileLimits, held: Vec<i32>) -> Option<Reply> {
        let state = self.cells.get(&cell).filter(|state| !state.ending && !state.removing);
        let known = state.and_then(|state| state.isolation.zip(state.directory.as_ref()));
        // If there is no process to trim with, the next reading will ask again.
        let forked =
            known.and_then(|(isolation, path)| trim::fork(path, limits, isolation, self.user).ok());
        let Some(pid) = forked else {
            self.kill_held(cell, &held);
            return Some(Reply::Done(cell));
        };
        self.trimmers.insert(pid, Trimmer { cell, held });
        None
    }

    /// Kills programs of a cell that are held. If its driver has ended, they are killed as orphans.
    fn kill_held(&self, cell: u64, held: &[i32]) {
        if let Some(driver) = self.cells.get(&cell).and_then(|state| state.driver) {
            tree::kill_held(driver.as_raw(), held);
        }
    }

    /// Kills everything in a cell.
    pub fn halt(&mut self, cell: u64) {
        let Some(state) = self.cells.get(&cell) else { return };
        if let Some(driver) = state.driver {
            if state.isolation != Some(Isolation::Namespaces) {
                tree::kill_below(driver.as_raw());
            }
            // In namespaces the kernel kills all others with the first.
            let _ = kill(driver, Signal::SIGKILL);
        }
    }

    /// Kills everything in a cell. [`settle`](Self::settle) reports when nothing remains.
    pub fn end(&mut self, cell: u64) {
        self.cells.entry(cell).or_default().ending = true;
        self.halt(cell);
    }

    /// Ends all cells, for a host that is gone.
    pub fn end_all(&mut self) {
        self.spares.discard();
        let cells: Vec<_> = self.cells.keys().copied().collect();
        cells.into_iter().for_each(|cell| self.end(cell));
    }

    /// True if no cell remains, and nothing remains to be removed.
    pub fn are_gone(&self) -> bool {
        self.cells.is_empty()
            && !self.spares.has_unused_groups()
            && self.removers.is_empty()
            && self.trimmers.is_empty()
    }

    /// Removes the remains of launchers that were killed.
    pub fn remove_remains(&mut self, temporary: &Path) {
        // If that fails, the next launcher tries again.
        if let Ok(pid) = remains::fork_removal(&self.facts, temporary) {
            self.removers.insert(pid, None);
        }
    }

    /// Collects processes that have ended.
    pub fn reap(&mut self) -> Vec<Reply> {
        let mut replies = Vec::new();
        loop {
            let (pid, code) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid, code),
                Ok(WaitStatus::Signaled(pid, _, _)) => (pid, -1),
                Ok(WaitStatus::StillAlive) | Err(_) => break,
                Ok(_) => continue,
            };
            replies.extend(self.process_ended(pid, code));
        }
        self.kill_orphans();
        replies
    }

    fn process_ended(&mut self, pid: Pid, code: i32) -> Option<Reply> {
        if let Some(Trimmer { cell, held }) = self.trimmers.remove(&pid) {
            self.kill_held(cell, &held);
            return Some(Reply::Done(cell));
        }
        if let Some(cell) = self.removers.remove(&pid) {
            let state = self.cells.get_mut(&cell?)?;
            let path = state.directory.take();
            state.removing = false;
            if code != 0 {
                let step = format!("remove {}", path.unwrap_or_default().display());
                state.problem = Some(Failure::new(step, "what remains must be removed by hand"));
            }
            return None;
        }
        let mut cells = self.cells.iter_mut();
        if let Some((cell, state)) = cells.find(|(_, state)| state.driver == Some(pid)) {
            state.driver = None;
            state.driver_ended = Some(Instant::now());
            let out_of_memory = state
                .group
                .as_ref()
                .is_some_and(|group| groups::oom_kills(&self.facts.groups, group) > 0);
            return Some(Reply::Died { cell: *cell, out_of_memory });
        }
        self.spares.forget(pid);
        None
    }

    /// Kills processes whose driver has ended. They become children of this process, which knows
    /// its own: all others are orphans.
    fn kill_orphans(&self) {
        for pid in self.orphans() {
            tree::kill_below(pid);
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }

    fn orphans(&self) -> Vec<i32> {
        let is_known = |pid: i32| {
            let pid = Pid::from_raw(pid);
            self.removers.contains_key(&pid)
                || self.trimmers.contains_key(&pid)
                || self.spares.has(pid)
                || self.cells.values().any(|state| state.driver == Some(pid))
        };
        let children = procfs::children(std::process::id() as i32);
        children.into_iter().filter(|pid| !is_known(*pid)).collect()
    }

    /// Takes the next step of each cell that waited for the end of a process or a group.
    /// [`is_waiting`](Self::is_waiting) is true if some still wait.
    pub fn settle(&mut self) -> Vec<Reply> {
        self.spares.remove_unused_groups();
        // Processes that lost their driver are killed, but may not have ended. They must not work
        // in a directory that is being removed, and nobody knows to which cell they belong.
        let is_left = |state: &CellState| state.directory.is_some() && state.driver.is_none();
        self.has_orphans = self.cells.values().any(is_left) && !self.orphans().is_empty();
        let trimmed: Vec<u64> = self.trimmers.values().map(|trimmer| trimmer.cell).collect();
        let without_driver = self.cells.iter().filter(|(_, state)| state.driver.is_none());
        let cells: Vec<u64> = without_driver.map(|(cell, _)| *cell).collect();
        let mut replies = Vec::new();
        for cell in cells {
            if self.remove_group(cell) && !trimmed.contains(&cell) {
                let is_ending = self.cells.get(&cell).is_some_and(|state| state.ending);
                replies.extend(if is_ending { self.remove(cell) } else { self.start_next(cell) });
            }
        }
        replies
    }

    /// Removes the control group of a cell without a driver. Returns true once it is gone, or has
    /// been given up.
    fn remove_group(&mut self, cell: u64) -> bool {
        let Some(state) = self.cells.get_mut(&cell) else { return false };
        let Some(group) = &state.group else { return true };
        if !groups::remove(&self.facts.groups, group) {
            groups::kill(&self.facts.groups, group);
            if state.driver_ended.is_none_or(|ended| ended.elapsed() < GROUP_TIMEOUT) {
                return false;
            }
            let step = format!("remove the control group {group}");
            state.problem = Some(Failure::new(step, "it is in use"));
        }
        state.group = None;
        true
    }

    /// Starts a cell that waited for the end of its previous driver.
    fn start_next(&mut self, cell: u64) -> Option<Reply> {
        let state = self.cells.get_mut(&cell)?;
        if self.has_orphans && state.next.is_some() {
            self.kill_orphans();
            return None;
        }
        let (start, descriptors) = state.next.take()?;
        let process = self.begin(start, descriptors);
        Some(Reply::Started { cell, process })
    }

    /// Removes the directories of a cell that ends, then the cell.
    fn remove(&mut self, cell: u64) -> Option<Reply> {
        let state = self.cells.get_mut(&cell)?;
        if let Some(path) = state.directory.clone() {
            if self.has_orphans {
                self.kill_orphans();
            } else if !state.removing {
                self.remove_directory(cell, &path);
            }
            return None;
        }
        // The directory is empty unless something was installed.
        if let Some(path) = state.packages.take()
            && fs::remove_dir(&path).is_err()
            && path.exists()
        {
            state.directory = Some(path.clone());
            self.remove_directory(cell, &path);
            return None;
        }
        let remaining = state.problem.take();
        self.cells.remove(&cell);
        Some(Reply::Ended { cell, remaining })
    }

    /// Removes a directory of a cell in a process of its own.
    fn remove_directory(&mut self, cell: u64, path: &Path) {
        let Some(state) = self.cells.get_mut(&cell) else { return };
        let isolation = state.isolation.unwrap_or(Isolation::Landlock);
        match directory::fork_removal(path, isolation, self.user) {
            Ok(pid) => {
                state.removing = true;
                self.removers.insert(pid, Some(cell));
            }
            Err(errno) => {
                let failed: nix::Result<()> = Err(errno);
                let failed = failed.step(|| format!("remove {}", path.display()));
                state.directory = None;
                state.problem = failed.err();
            }
        }
    }

    /// True if something must be looked at again soon.
    pub fn is_waiting(&self) -> bool {
        self.has_orphans
            || self.spares.has_unused_groups()
            || self.cells.values().any(|state| state.driver.is_none() && state.group.is_some())
    }
}
