//! Processor time and memory of processes, from `/proc`.

use std::{collections::HashMap, fs, time::Duration};

use crate::procfs::Stat;

/// Ticks of the kernel's clock in a second, as `/proc` counts; the same on all supported systems.
const TICKS: u32 = 100;

/// The processor time of a changing set of processes.
#[derive(Debug, Default)]
pub struct CpuTime {
    /// The time that each process had used when it was last seen, by its number and start.
    seen: HashMap<(i32, u64), u64>,
    /// The time of processes that are gone.
    gone: u64,
    /// The maximum that was returned.
    maximum: u64,
}

impl CpuTime {
    /// Returns the processor time since the cell started.
    ///
    /// When a parent waits for a process, it inherits its time; a process that nobody waits for
    /// takes its time along. So the time of processes that are gone is also added up, and the
    /// larger of both sums is returned. A process that lives for less than the time between two
    /// looks, and that nobody waits for, is not seen.
    pub fn total(&mut self, processes: &[i32]) -> Duration {
        let mut now = HashMap::new();
        let mut inherited = 0;
        for pid in processes {
            let Some(stat) = Stat::read(*pid) else { continue };
            let sum = |numbers: [usize; 2]| {
                numbers.into_iter().filter_map(|number| stat.field(number)).sum::<u64>()
            };
            let own = sum([14, 15]);
            inherited += own + sum([16, 17]);
            now.insert((*pid, stat.field(22).unwrap_or(0)), own);
        }
        self.gone += self
            .seen
            .iter()
            .filter(|(process, _)| !now.contains_key(process))
            .map(|(_, own)| own)
            .sum::<u64>();
        let own = now.values().sum::<u64>() + self.gone;
        self.seen = now;
        self.maximum = self.maximum.max(own).max(inherited);
        Duration::from_secs(self.maximum) / TICKS
    }
}

/// Returns the memory of processes, in bytes. Shared pages are counted once, but only if that
/// matters for `limit`, because it takes longer.
pub fn memory(processes: &[i32], limit: u64) -> u64 {
    let all: Vec<_> = processes.iter().map(|pid| (*pid, ProcessMemory::of(*pid))).collect();
    let besides: u64 = all.iter().map(|(_, memory)| memory.besides).sum();
    let resident: u64 = all.iter().map(|(_, memory)| memory.resident).sum();
    if besides + resident <= limit {
        return besides + resident;
    }
    let shared = all.iter().map(|(pid, memory)| proportional(*pid).unwrap_or(memory.resident));
    besides + shared.sum::<u64>()
}

/// The memory of one process, in bytes.
#[derive(Default)]
struct ProcessMemory {
    resident: u64,
    /// The page tables, and the pages that are swapped out.
    besides: u64,
}

impl ProcessMemory {
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

/// Returns the memory of a process, with each shared page divided among the processes that share
/// it.
fn proportional(pid: i32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_this_process_is_read() {
        let own = std::process::id() as i32;
        let before = memory(&[own], u64::MAX);
        let block = vec![1u8; 64 << 20];
        std::hint::black_box(&block);
        assert!(memory(&[own], u64::MAX) > before + (60 << 20));
        // The slow way sees it, too.
        assert!(memory(&[own], 0) > 60 << 20);
        assert_eq!(memory(&[0], u64::MAX), 0);
    }

    #[test]
    fn the_time_of_processes_that_are_gone_is_kept() {
        let mut cpu = CpuTime { seen: HashMap::from([((1 << 30, 5), 200)]), ..CpuTime::default() };
        assert_eq!(cpu.total(&[]), Duration::from_secs(2));
        assert_eq!(cpu.total(&[]), Duration::from_secs(2));
    }
}
