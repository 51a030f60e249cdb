//! What a cell uses, read from outside, where no control group counts it.

mod disk;
mod held;
mod processes;

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use cellblock_driver::CellUsage;
use cellblock_exec::{Isolation, Limits};
pub(crate) use disk::size;
use nix::unistd::{Gid, Uid};
pub(crate) use processes::{parent, started, tasks_of};

use crate::{
    groups::{Controller, Found},
    inside::NOBODY,
    launcher::{tree, wire::Process},
    sys,
};

/// The driver and its worker.
const OWN: u32 = 2;

/// A walk through files, and a look at what processes hold, are not made again before they have
/// taken no more than this fraction of the time.
const SHARE: u32 = 10;

/// A walk through files that takes less is made at every look.
const QUICK: Duration = Duration::from_millis(3);

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
    files: disk::Files,
    files_due: Instant,
    /// The last look at what processes hold, and when the next is due.
    held: held::Held,
    held_due: Instant,
    /// A process that cannot be looked into breaks the limits. Not at the level `none`, where Python's
    /// own processes can close themselves for a moment.
    punishes_hiding: bool,
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
            files: disk::Files::default(),
            files_due: Instant::now(),
            held: held::Held::default(),
            held_due: Instant::now(),
            punishes_hiding: isolation != Isolation::None,
            kills: 0,
            refusals: 0,
        })
    }

    /// What the cell uses now. Nothing, once its first process has ended.
    pub fn read(&mut self) -> CellUsage {
        let pid = self.process.pid;
        if started(pid) != Some(self.process.started) {
            return CellUsage::default();
        }
        let mut all = tree::descendants(pid);
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
            None if self.held.hidden && self.punishes_hiding => {
                self.limits.memory.saturating_add(1)
            }
            None => self.held.buffers + processes::memory(&all, self.limits.memory),
        };
        // The kernel has refused a process; by now there may be fewer again.
        let refused = self.counted(Controller::Pids).is_some_and(|refusals| {
            let more = refusals > self.refusals;
            self.refusals = refusals;
            more
        });
        let processes = (all.len() as u32).saturating_sub(OWN);
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

    /// Makes the next look a thorough one, however short a time ago the last was.
    pub fn look_now(&mut self) {
        (self.files_due, self.held_due) = (Instant::now(), Instant::now());
    }

    fn look_at_files(&mut self) {
        let begin = Instant::now();
        let Some(directory) = self.directory.as_deref().filter(|_| begin >= self.files_due) else {
            return;
        };
        self.files = disk::look(directory, &self.limits);
        let took = begin.elapsed();
        self.files_due = begin + if took < QUICK { Duration::ZERO } else { took * SHARE };
    }

    fn look_at_held(&mut self, driver: i32, all: &[i32]) {
        let begin = Instant::now();
        if begin < self.held_due {
            return;
        }
        let programs: Vec<i32> = all.iter().copied().filter(|pid| *pid != driver).collect();
        let look = || held::look(&programs, self.directory.as_deref());
        // Root in a container may not look into processes of others. The driver hides nothing.
        let may_look = fs::metadata(format!("/proc/{driver}/fd/0")).is_ok();
        let nobody = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
        self.held = if may_look { look() } else { sys::as_user(nobody.0, nobody.1, look) };
        self.held_due = begin + begin.elapsed() * SHARE;
    }

    /// The files of the cell and those that are removed and held.
    fn all_files(&self) -> disk::Files {
        let uncounted = self.held.hidden || self.held.unknown;
        if uncounted && self.punishes_hiding && self.directory.is_some() {
            return disk::Files::UNCOUNTABLE;
        }
        disk::Files {
            bytes: self.files.bytes.saturating_add(self.held.bytes),
            count: self.files.count.saturating_add(self.held.count),
        }
    }

    /// Whether there were more files than there may be at the last look; then the next look must not wait.
    pub fn has_too_many_files(&mut self) -> bool {
        let over = self.all_files().exceed(&self.limits);
        if over {
            self.look_now();
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
