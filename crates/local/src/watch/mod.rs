//! What a cell uses, read from outside, where no control group counts it.

mod disk;
mod processes;

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use cellblock_driver::Reading;
use cellblock_exec::{Isolation, Limits};
pub(crate) use processes::{parent, started, tasks_of};

use crate::{
    groups::{Controller, Found},
    launcher::{tree, wire::Process},
};

/// The driver and its worker.
const OWN: u32 = 2;

/// A walk through many files is not made again before it has taken no more than this fraction of the time.
const DISK_SHARE: u32 = 10;

/// A walk through files that takes less is made at every look.
const QUICK: Duration = Duration::from_millis(3);

/// Removed files that processes hold are looked for at one look in so many.
const HELD_EVERY: u32 = 4;

/// Watches one cell.
#[derive(Debug)]
pub(crate) struct Watch {
    process: Process,
    /// What the kernel counts, and where.
    counters: Vec<(Controller, bool, PathBuf)>,
    directory: Option<PathBuf>,
    limits: Limits,
    cpu: processes::Cpu,
    /// The last look at the files, when the next is due.
    disk: disk::Files,
    due: Instant,
    looks: u32,
    kills: u64,
    refusals: u64,
}

impl Watch {
    /// A watch over a cell; `None` where control groups count and limit all there is to watch, and the driver sees them.
    pub fn new(
        isolation: Isolation,
        process: Process,
        found: &[Found],
        directory: Option<PathBuf>,
        limits: Limits,
    ) -> Option<Self> {
        let all = [Controller::Memory, Controller::Pids, Controller::Cpu];
        let seen_inside = isolation == Isolation::Namespaces;
        if seen_inside && all.iter().all(|controller| crate::groups::counts(found, *controller)) {
            return None;
        }
        let counters = process.group.iter().flat_map(|group| {
            found.iter().flat_map(move |hierarchy| {
                let at = hierarchy.base.join(group);
                hierarchy
                    .controllers
                    .iter()
                    .map(move |controller| (*controller, hierarchy.unified, at.clone()))
            })
        });
        Some(Self {
            counters: counters.collect(),
            process,
            directory,
            limits,
            cpu: processes::Cpu::default(),
            disk: disk::Files::default(),
            due: Instant::now(),
            looks: 0,
            kills: 0,
            refusals: 0,
        })
    }

    /// What the cell uses now. Nothing, once its first process has ended.
    pub fn read(&mut self) -> Reading {
        let pid = self.process.pid;
        if started(pid) != Some(self.process.started) {
            return Reading::default();
        }
        let mut all = tree::descendants(pid);
        all.push(pid);
        let cpu = self
            .counted(Controller::Cpu)
            .map(Duration::from_nanos)
            .unwrap_or_else(|| self.cpu.total(&all));
        let memory = self
            .counted(Controller::Memory)
            .unwrap_or_else(|| processes::memory(&all, self.limits.memory));
        self.look_at_files(&all);
        // The kernel has refused a process; by now there may be fewer again.
        let refused = self.counted(Controller::Pids).is_some_and(|refusals| {
            let more = refusals > self.refusals;
            self.refusals = refusals;
            more
        });
        let processes = (all.len() as u32).saturating_sub(OWN);
        Reading {
            cpu,
            memory,
            processes: if refused {
                processes.max(self.limits.processes.saturating_add(1))
            } else {
                processes
            },
            disk: self.disk.bytes,
            files: self.disk.count,
        }
    }

    /// Makes the next look a thorough one, however short a time ago the last was.
    pub fn look_now(&mut self) {
        self.due = Instant::now();
    }

    fn look_at_files(&mut self, all: &[i32]) {
        let Some(directory) = &self.directory else { return };
        let begin = Instant::now();
        if begin >= self.due {
            self.looks += 1;
            self.disk =
                disk::look(directory, all, &self.limits, self.looks.is_multiple_of(HELD_EVERY));
            let took = begin.elapsed();
            self.due = begin + if took < QUICK { Duration::ZERO } else { took * DISK_SHARE };
        }
    }

    /// Whether there were more files than there may be at the last look; then the next look must not wait.
    pub fn has_too_many_files(&mut self) -> bool {
        let over =
            self.disk.bytes > self.limits.disk || self.disk.count > u64::from(self.limits.files);
        if over {
            self.due = Instant::now();
        }
        over
    }

    /// What a control group counts: nanoseconds, bytes, or refusals.
    fn counted(&mut self, wanted: Controller) -> Option<u64> {
        let (_, unified, at) =
            self.counters.iter().find(|(controller, _, _)| *controller == wanted)?.clone();
        let number =
            |name: &str| fs::read_to_string(at.join(name)).ok()?.trim().parse::<u64>().ok();
        let usage = || {
            let text = fs::read_to_string(at.join("cpu.stat")).ok()?;
            let line = text.lines().find_map(|line| line.strip_prefix("usage_usec "))?;
            line.trim().parse::<u64>().ok()
        };
        match (wanted, unified) {
            (Controller::Cpu, true) => usage().map(|micros| micros * 1000),
            (Controller::Cpu, false) => number("cpuacct.usage"),
            (Controller::Memory, _) => {
                let usage =
                    number(if unified { "memory.current" } else { "memory.usage_in_bytes" })?;
                // The kernel has killed a program for its memory, which is free again by now.
                let kills = crate::groups::kills_in(&at, unified);
                let killed = kills > self.kills;
                self.kills = kills;
                Some(if killed { usage.max(self.limits.memory.saturating_add(1)) } else { usage })
            }
            (Controller::Pids, _) => {
                let text = fs::read_to_string(at.join("pids.events")).ok()?;
                text.lines().find_map(|line| line.strip_prefix("max "))?.trim().parse().ok()
            }
        }
    }
}
