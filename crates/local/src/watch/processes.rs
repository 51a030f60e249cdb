//! Processor time and memory of processes, from `/proc`.

use std::{collections::HashMap, fs, time::Duration};

/// Ticks of the kernel's clock in a second, as `/proc` counts; the same on all systems that we run on.
const TICKS: u32 = 100;

/// The fields of `/proc/<pid>/stat` after the name, which may have spaces and parentheses. The first is field 3.
fn stat(pid: i32) -> Option<Vec<String>> {
    let text = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let text = String::from_utf8_lossy(&text);
    let (_, fields) = text.rsplit_once(')')?;
    Some(fields.split_whitespace().map(str::to_owned).collect())
}

fn field(fields: &[String], number: usize) -> Option<u64> {
    fields.get(number - 3)?.parse().ok()
}

/// When a process started, in ticks since the machine did.
pub(crate) fn started(pid: i32) -> Option<u64> {
    field(&stat(pid)?, 22)
}

/// How many tasks a user has on this machine.
pub(crate) fn tasks_of(user: u32) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let of_user = processes.filter(|entry| entry.metadata().is_ok_and(|found| found.uid() == user));
    of_user
        .map(|entry| {
            fs::read_dir(entry.path().join("task")).map_or(0, |tasks| tasks.count() as u64)
        })
        .sum()
}

/// The parent of a process.
pub(crate) fn parent(pid: i32) -> Option<i32> {
    stat(pid)?.get(1)?.parse().ok()
}

/// Counts processor time of a changing set of processes.
#[derive(Debug, Default)]
pub(crate) struct Cpu {
    /// What each process had used when it was last seen, by its number and start.
    seen: HashMap<(i32, u64), u64>,
    /// What processes had used that are gone.
    gone: u64,
    most: u64,
}

impl Cpu {
    /// Processor time since the cell began.
    ///
    /// A process leaves its time to its parent when that waits for it; one that nobody waits for takes it along. So what
    /// was seen of processes that are gone is added up, too, and the greater of both sums is taken. What lives for less
    /// than the time between two looks and is waited for by nobody is not seen.
    pub fn total(&mut self, processes: &[i32]) -> Duration {
        let mut now = HashMap::new();
        let mut inherited = 0;
        for pid in processes {
            let Some(fields) = stat(*pid) else { continue };
            let sum = |numbers: [usize; 2]| {
                numbers.into_iter().filter_map(|number| field(&fields, number)).sum::<u64>()
            };
            let own = sum([14, 15]);
            inherited += own + sum([16, 17]);
            now.insert((*pid, field(&fields, 22).unwrap_or(0)), own);
        }
        self.gone += self
            .seen
            .iter()
            .filter(|(process, _)| !now.contains_key(process))
            .map(|(_, own)| own)
            .sum::<u64>();
        let own = now.values().sum::<u64>() + self.gone;
        self.seen = now;
        self.most = self.most.max(own).max(inherited);
        Duration::from_secs(self.most) / TICKS
    }
}

/// Memory of processes, in bytes. What they share is counted once, if it matters for `limit`: that
/// takes longer.
pub(crate) fn memory(processes: &[i32], limit: u64) -> u64 {
    let all: Vec<_> = processes.iter().map(|pid| (*pid, Memory::of(*pid))).collect();
    let besides: u64 = all.iter().map(|(_, memory)| memory.besides).sum();
    let resident: u64 = all.iter().map(|(_, memory)| memory.resident).sum();
    if besides + resident <= limit {
        return besides + resident;
    }
    let shared = all.iter().map(|(pid, memory)| proportional(*pid).unwrap_or(memory.resident));
    besides + shared.sum::<u64>()
}

/// Memory of one process, in bytes.
#[derive(Default)]
struct Memory {
    resident: u64,
    /// The page tables for it, and what is swapped out.
    besides: u64,
}

impl Memory {
    fn of(pid: i32) -> Self {
        let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let mut memory = Self::default();
        for line in text.lines() {
            let Some((name, value)) = line.split_once(':') else { continue };
            let kibibytes = || value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok();
            let bytes = || kibibytes().unwrap_or(0) * 1024;
            match name {
                "VmRSS" => memory.resident = bytes(),
                "VmPTE" | "VmSwap" => memory.besides += bytes(),
                _ => {}
            }
        }
        memory
    }
}

/// A process's memory in which a page that several share is divided among them.
fn proportional(pid: i32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_can_be_read() {
        let own = std::process::id() as i32;
        assert!(started(own).unwrap() > 0);
        assert_eq!(parent(own).unwrap(), nix::unistd::getppid().as_raw());
        let before = memory(&[own], u64::MAX);
        let block = vec![1u8; 64 << 20];
        std::hint::black_box(&block);
        assert!(memory(&[own], u64::MAX) > before + (60 << 20));
        // The slow way sees it, too.
        assert!(memory(&[own], 0) > 60 << 20);
        assert_eq!(memory(&[0], u64::MAX), 0);
    }

    #[test]
    fn time_of_processes_that_are_gone_is_kept() {
        let mut cpu = Cpu { seen: HashMap::from([((1 << 30, 5), 200)]), ..Cpu::default() };
        assert_eq!(cpu.total(&[]), Duration::from_secs(2));
        assert_eq!(cpu.total(&[]), Duration::from_secs(2));
    }
}
