//! What a cell uses, read from outside, where no control group counts it.

mod disk;
mod held;
mod processes;

use std::{
    collections::HashSet,
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use cellblock_driver::Reading;
use cellblock_exec::{Isolation, Limits};
pub(crate) use disk::size;
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

/// What processes hold by their descriptors is looked for at one look in so many.
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
    /// The last look at the files, and when the next is due.
    disk: disk::Files,
    due: Instant,
    /// The last look at descriptors.
    held: held::Held,
    looks: u32,
    /// Whether processes of the cell can be looked into here at all: root in a container may not.
    can_look: bool,
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
            held: held::Held::default(),
            looks: 0,
            can_look: false,
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
        self.look_at_files(pid, &all);
        let memory = match self.counted(Controller::Memory) {
            Some(counted) => counted,
            None => self.held.buffers + processes::memory(&all, self.limits.memory),
        };
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

    fn look_at_files(&mut self, driver: i32, all: &[i32]) {
        let begin = Instant::now();
        if begin < self.due {
            return;
        }
        let mut seen = HashSet::new();
        let directory = self.directory.as_deref();
        let files = directory.map(|directory| disk::look(directory, &self.limits, &mut seen));
        if self.looks.is_multiple_of(HELD_EVERY) {
            self.held = self.look_at_descriptors(driver, all, &mut seen);
        }
        self.looks = self.looks.wrapping_add(1);
        if let Some(files) = files {
            self.disk = disk::Files {
                bytes: files.bytes.saturating_add(self.held.bytes),
                count: files.count.saturating_add(self.held.count),
            };
            if self.held.hidden {
                self.disk = disk::Files::UNCOUNTABLE;
            }
        }
        let took = begin.elapsed();
        self.due = begin + if took < QUICK { Duration::ZERO } else { took * DISK_SHARE };
    }

    fn look_at_descriptors(
        &mut self,
        driver: i32,
        all: &[i32],
        seen: &mut HashSet<(u64, u64)>,
    ) -> held::Held {
        if self.looks == 0 {
            // The driver has nothing to hide; if even it cannot be looked into, nobody can.
            self.can_look = fs::read_dir(format!("/proc/{driver}/fd")).is_ok();
        }
        let programs: Vec<i32> = all.iter().copied().filter(|pid| *pid != driver).collect();
        let held = held::look(&programs, self.directory.as_deref(), seen);
        held::Held { hidden: held.hidden && self.can_look, ..held }
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
