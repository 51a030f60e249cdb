//! The outcome of a block, from all that the driver and the host have seen.

use cellblock_exec::{Limit, Outcome};

use crate::{
    errno::{EAGAIN, EDQUOT, EFBIG, ENOSPC, SIGKILL, SIGXFSZ},
    protocol::{BlockEnd, FullQuota},
};

/// Returns the outcome of a block. `stopped` is the reason why the host stopped it.
/// `memory_is_refused` is true if an allocation beyond the memory limit fails; otherwise the
/// program is killed.
pub fn verdict(end: &BlockEnd, stopped: Option<Outcome>, memory_is_refused: bool) -> Outcome {
    match stopped {
        // It was above the limit, even if it ended by itself a moment later.
        Some(seen @ Outcome::LimitExceeded { limit }) if limit != Limit::Wall => return seen,
        // A block that is killed from outside ends before its driver receives the request to stop.
        Some(stopped) if end.lost || end.signal == Some(SIGKILL) => return stopped,
        // It ended by itself before it could be stopped.
        _ => {}
    }
    if end.out_of_cpu {
        return Outcome::LimitExceeded { limit: Limit::Cpu };
    }
    if end.code == Some(0) {
        return Outcome::Exited { code: 0 };
    }
    if let Some(limit) = limit(end, memory_is_refused) {
        return Outcome::LimitExceeded { limit };
    }
    match (end.code, end.signal) {
        (Some(code), _) => Outcome::Exited { code },
        (None, Some(signal)) => Outcome::Signaled { signal },
        (None, None) => Outcome::Exited { code: 1 },
    }
}

/// Returns the limit that made a program fail, if one did.
fn limit(end: &BlockEnd, memory_is_refused: bool) -> Option<Limit> {
    let exception = end.exception.as_str();
    if end.out_of_memory || (exception == "MemoryError" && memory_is_refused) {
        return Some(Limit::Memory);
    }
    let refused_process = match exception {
        "" | "RuntimeError" => true,
        _ => end.errno == Some(EAGAIN),
    };
    if end.out_of_processes && refused_process {
        return Some(Limit::Processes);
    }
    match end.errno {
        Some(ENOSPC) if end.full == Some(FullQuota::Files) => return Some(Limit::Files),
        Some(ENOSPC | EFBIG | EDQUOT) => return Some(Limit::Disk),
        _ => {}
    }
    if end.signal == Some(SIGXFSZ) {
        return Some(Limit::Disk);
    }
    // Programs other than Python report no error number. A full workspace is the likeliest reason
    // for their failure.
    if !exception.is_empty() || end.signal.is_some() {
        return None;
    }
    end.full.map(|full| match full {
        FullQuota::Disk => Limit::Disk,
        FullQuota::Files => Limit::Files,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DISK: Option<FullQuota> = Some(FullQuota::Disk);
    const FILES: Option<FullQuota> = Some(FullQuota::Files);

    fn exited(code: i32) -> BlockEnd {
        BlockEnd { code: Some(code), ..BlockEnd::default() }
    }

    fn limited(limit: Limit) -> Outcome {
        Outcome::LimitExceeded { limit }
    }

    fn raised(exception: &str, errno: Option<i32>, full: Option<FullQuota>) -> BlockEnd {
        BlockEnd { exception: exception.into(), errno, full, ..exited(1) }
    }

    #[test]
    fn a_table_of_ends() {
        let killed = BlockEnd { signal: Some(9), lost: true, ..BlockEnd::default() };
        for (ended, expected) in [
            (exited(0), Outcome::Exited { code: 0 }),
            (exited(3), Outcome::Exited { code: 3 }),
            (exited(137), Outcome::Exited { code: 137 }),
            (killed.clone(), Outcome::Signaled { signal: 9 }),
            (BlockEnd { out_of_memory: true, ..killed }, limited(Limit::Memory)),
            (BlockEnd { out_of_memory: true, ..exited(137) }, limited(Limit::Memory)),
            (BlockEnd { out_of_memory: true, ..exited(0) }, Outcome::Exited { code: 0 }),
            (BlockEnd { out_of_cpu: true, lost: true, ..exited(1) }, limited(Limit::Cpu)),
            (BlockEnd { out_of_processes: true, ..exited(254) }, limited(Limit::Processes)),
            (
                BlockEnd { out_of_processes: true, ..raised("OSError", Some(11), None) },
                limited(Limit::Processes),
            ),
            (
                BlockEnd { out_of_processes: true, ..raised("RuntimeError", None, None) },
                limited(Limit::Processes),
            ),
            (
                BlockEnd { out_of_processes: true, ..raised("ValueError", None, None) },
                Outcome::Exited { code: 1 },
            ),
            (raised("OSError", Some(28), None), limited(Limit::Disk)),
            (raised("OSError", Some(28), FILES), limited(Limit::Files)),
            (raised("OSError", Some(27), None), limited(Limit::Disk)),
            (raised("OSError", Some(2), DISK), Outcome::Exited { code: 1 }),
            (raised("ValueError", None, DISK), Outcome::Exited { code: 1 }),
            (BlockEnd { full: DISK, ..exited(1) }, limited(Limit::Disk)),
            (BlockEnd { full: FILES, ..exited(2) }, limited(Limit::Files)),
            (raised("MemoryError", None, None), Outcome::Exited { code: 1 }),
        ] {
            assert_eq!(verdict(&ended, None, false), expected, "{ended:?}");
        }
        assert_eq!(verdict(&raised("MemoryError", None, None), None, true), limited(Limit::Memory));
    }

    #[test]
    fn a_stop_counts_only_if_it_came_in_time() {
        let stop = Some(limited(Limit::Wall));
        let killed = BlockEnd { signal: Some(9), lost: true, ..BlockEnd::default() };
        assert_eq!(verdict(&killed, stop.clone(), false), limited(Limit::Wall));
        assert_eq!(verdict(&exited(0), stop, false), Outcome::Exited { code: 0 });
        for limit in [Limit::Output, Limit::Disk, Limit::Memory] {
            assert_eq!(verdict(&exited(0), Some(limited(limit)), false), limited(limit));
        }
    }
}
