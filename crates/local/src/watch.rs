//! Measuring a cell from outside, where no control group counts for it or the driver cannot read
//! the groups.

mod disk;
mod held;
mod usage;

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use cellblock_driver::CellUsage;
use cellblock_exec::{Isolation, Limits};
use nix::unistd::{Gid, Uid};

use crate::{
    groups::{self, Controller, Hierarchy},
    inside::NOBODY,
    procfs,
    protocol::DriverProcess,
    sys,
};

/// The processes of every cell that belong to no program: the driver and its Python worker.
pub const OWN_PROCESSES: u32 = 2;

/// The pause after a slow look, as a multiple of the time that it took: looks take at most this
/// fraction of the time.
const PAUSE_FACTOR: u32 = 10;

/// A walk through files that takes less than this is repeated at every reading.
const QUICK: Duration = Duration::from_millis(3);

/// A watch over one cell.
#[derive(Debug)]
pub struct Watch {
    process: DriverProcess,
    counters: Vec<Counter>,
    directory: Option<PathBuf>,
    limits: Limits,
    cpu: usage::CpuTime,
    /// The files at the last look, and the time of the next.
    files: disk::FileUsage,
    files_due: Instant,
    /// The resources that processes held at the last look, and the time of the next.
    held: held::HeldResources,
    held_due: Instant,
    /// True if a process that cannot be looked into counts as a violation of the limits. Not at the
    /// level `none`, where Python's own processes can close themselves for a moment.
    hiding_exceeds_limits: bool,
    /// The kills for memory and the refused tasks that the kernel had counted at the last reading.
    oom_kills: u64,
    refusals: u64,
}

/// A control group that counts for the cell.
#[derive(Debug, Clone)]
struct Counter {
    controller: Controller,
    unified: bool,
    directory: PathBuf,
}

impl Watch {
    /// Returns a watch over a cell; `None` where control groups count and limit everything and the
    /// driver sees them.
    pub fn new(
        isolation: Isolation,
        process: DriverProcess,
        hierarchies: &[Hierarchy],
        directory: Option<PathBuf>,
        limits: Limits,
    ) -> Option<Self> {
        let all = [Controller::Memory, Controller::Pids, Controller::Cpu];
        let seen_inside = isolation == Isolation::Namespaces;
        if seen_inside && all.iter().all(|controller| groups::counts(hierarchies, *controller)) {
            return None;
        }
        let counters = process.group.iter().flat_map(|group| {
            hierarchies.iter().flat_map(move |hierarchy| {
                let controllers = hierarchy.controllers.iter();
                controllers.map(move |controller| Counter {
                    controller: *controller,
                    unified: hierarchy.unified,
                    directory: hierarchy.base.join(group),
                })
            })
        });
        Some(Self {
            counters: counters.collect(),
            process,
            directory,
            limits,
            cpu: usage::CpuTime::default(),
            files: disk::FileUsage::default(),
            files_due: Instant::now(),
            held: held::HeldResources::default(),
            held_due: Instant::now(),
            hiding_exceeds_limits: isolation != Isolation::None,
            oom_kills: 0,
            refusals: 0,
        })
    }

    /// Returns what the cell uses now; zero once its first process has ended.
    pub fn read(&mut self) -> CellUsage {
        let pid = self.process.pid;
        if procfs::started(pid) != Some(self.process.started) {
            return CellUsage::default();
        }
        let mut all = procfs::descendants(pid);
        all.push(pid);
        let cpu = self
            .counted(Controller::Cpu)
            .map(Duration::from_nanos)
            .unwrap_or_else(|| self.cpu.total(&all));
        self.look_at_held(pid, &all);
        self.look_at_files();
        let files = self.all_files();
        let memory = match self.counted(Controller::Memory) {
            Some(counted) => counted,
            None if self.held.hidden && self.hiding_exceeds_limits => {
                self.limits.memory.saturating_add(1)
            }
            None => self.held.buffers + usage::memory(&all, self.limits.memory),
        };
        // If the kernel has refused a process, there may be fewer again by now.
        let refused = self.counted(Controller::Pids).is_some_and(|refusals| {
            let more = refusals > self.refusals;
            self.refusals = refusals;
            more
        });
        let processes = (all.len() as u32).saturating_sub(OWN_PROCESSES);
        CellUsage {
            cpu,
            memory,
            processes: if refused {
                processes.max(self.limits.processes.saturating_add(1))
            } else {
                processes
            },
            disk: files.bytes,
            files: files.count,
        }
    }

    /// Makes the next reading a thorough one, even shortly after the last.
    pub fn look_now(&mut self) {
        (self.files_due, self.held_due) = (Instant::now(), Instant::now());
    }

    /// True if there were too many files at the last look. Then the next look is not delayed.
    pub fn has_too_many_files(&mut self) -> bool {
        let over = self.all_files().exceeds(&self.limits);
        if over {
            self.look_now();
        }
        over
    }

    fn look_at_files(&mut self) {
        let begin = Instant::now();
        let Some(directory) = self.directory.as_deref().filter(|_| begin >= self.files_due) else {
            return;
        };
        self.files = disk::look(directory, &self.limits);
        let took = begin.elapsed();
        self.files_due = begin + if took < QUICK { Duration::ZERO } else { took * PAUSE_FACTOR };
    }

    fn look_at_held(&mut self, driver: i32, all: &[i32]) {
        let begin = Instant::now();
        if begin < self.held_due {
            return;
        }
        let programs: Vec<i32> = all.iter().copied().filter(|pid| *pid != driver).collect();
        let look = || held::look(&programs, self.directory.as_deref());
        // Root in a container may not look into other users' processes. The driver hides nothing.
        let may_look = fs::metadata(format!("/proc/{driver}/fd/0")).is_ok();
        let nobody = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
        self.held = if may_look { look() } else { sys::as_user(nobody.0, nobody.1, look) };
        self.held_due = begin + begin.elapsed() * PAUSE_FACTOR;
    }

    /// Returns the files of the cell, together with removed files that are held.
    fn all_files(&self) -> disk::FileUsage {
        let uncounted = self.held.hidden || self.held.unknown;
        if uncounted && self.hiding_exceeds_limits && self.directory.is_some() {
            return disk::FileUsage::UNCOUNTABLE;
        }
        disk::FileUsage {
            bytes: self.files.bytes.saturating_add(self.held.bytes),
            count: self.files.count.saturating_add(self.held.count),
        }
    }

    /// Returns what a control group counts: nanoseconds, bytes, or refused tasks.
    fn counted(&mut self, wanted: Controller) -> Option<u64> {
        let counter = self.counters.iter().find(|counter| counter.controller == wanted)?;
        let Counter { unified, directory, .. } = counter.clone();
        let number =
            |name: &str| fs::read_to_string(directory.join(name)).ok()?.trim().parse::<u64>().ok();
        let usage = || {
            let text = fs::read_to_string(directory.join("cpu.stat")).ok()?;
            let line = text.lines().find_map(|line| line.strip_prefix("usage_usec "))?;
            line.trim().parse::<u64>().ok()
        };
        match (wanted, unified) {
            (Controller::Cpu, true) => usage().map(|micros| micros * 1000),
            (Controller::Cpu, false) => number("cpuacct.usage"),
            (Controller::Memory, _) => {
                let usage =
                    number(if unified { "memory.current" } else { "memory.usage_in_bytes" })?;
                // If the kernel has killed a program for its memory, that memory is free by now.
                let kills = groups::oom_kills_in(&directory, unified);
                let killed = kills > self.oom_kills;
                self.oom_kills = kills;
                Some(if killed { usage.max(self.limits.memory.saturating_add(1)) } else { usage })
            }
            (Controller::Pids, _) => {
                let text = fs::read_to_string(directory.join("pids.events")).ok()?;
                text.lines().find_map(|line| line.strip_prefix("max "))?.trim().parse().ok()
            }
        }
    }
}
