//! What became of a block, from all that was seen.

use cellblock_exec::{Limit, Outcome};

use crate::wire::Ended;

/// Numbers of errors and signals, as Linux has them on every machine that we run on.
const EAGAIN: i32 = 11;
const EFBIG: i32 = 27;
const ENOSPC: i32 = 28;
const EDQUOT: i32 = 122;
pub(crate) const SIGKILL: i32 = 9;
const SIGXFSZ: i32 = 25;

/// How a block ended. `stopped` is why we stopped it; `memory_is_refused` says that a program that asks for too much memory
/// is refused it, and not killed.
pub(crate) fn verdict(ended: &Ended, stopped: Option<Outcome>, memory_is_refused: bool) -> Outcome {
    match stopped {
        // It was seen above the limit, whether or not it ended by itself a moment later.
        Some(seen @ Outcome::LimitExceeded { limit }) if limit != Limit::Wall => return seen,
        // What was killed from outside ends before its driver hears that it is to be stopped.
        Some(stopped) if ended.lost || ended.signal == Some(SIGKILL) => return stopped,
        // It ended by itself before it could be stopped.
        _ => {}
    }
    if ended.out_of_cpu {
        return Outcome::LimitExceeded { limit: Limit::Cpu };
    }
    if ended.code == Some(0) {
        return Outcome::Exited { code: 0 };
    }
    if let Some(limit) = limit(ended, memory_is_refused) {
        return Outcome::LimitExceeded { limit };
    }
    match (ended.code, ended.signal) {
        (Some(code), _) => Outcome::Exited { code },
        (None, Some(signal)) => Outcome::Signaled { signal },
        (None, None) => Outcome::Exited { code: 1 },
    }
}

/// The limit that made a program fail, if one did.
fn limit(ended: &Ended, memory_is_refused: bool) -> Option<Limit> {
    let exception = ended.exception.as_str();
    if ended.out_of_memory || (exception == "MemoryError" && memory_is_refused) {
        return Some(Limit::Memory);
    }
    let refused_process = match exception {
        "" | "RuntimeError" => true,
        _ => ended.errno == Some(EAGAIN),
    };
    if ended.out_of_processes && refused_process {
        return Some(Limit::Processes);
    }
    match ended.errno {
        Some(ENOSPC) if ended.full == "files" => return Some(Limit::Files),
        Some(ENOSPC | EFBIG | EDQUOT) => return Some(Limit::Disk),
        _ => {}
    }
    if ended.signal == Some(SIGXFSZ) {
        return Some(Limit::Disk);
    }
    // Programs other than Python tell no error number; that there is no room is the likeliest reason for their failure.
    match ended.full.as_str() {
        "files" if exception.is_empty() && ended.signal.is_none() => Some(Limit::Files),
        "disk" if exception.is_empty() && ended.signal.is_none() => Some(Limit::Disk),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exited(code: i32) -> Ended {
        Ended { code: Some(code), ..Ended::default() }
    }

    fn limited(limit: Limit) -> Outcome {
        Outcome::LimitExceeded { limit }
    }

    fn raised(exception: &str, errno: Option<i32>, full: &str) -> Ended {
        Ended { exception: exception.into(), errno, full: full.into(), ..exited(1) }
    }

    #[test]
    fn a_table_of_ends() {
        let killed = Ended { signal: Some(9), lost: true, ..Ended::default() };
        for (ended, expected) in [
            (exited(0), Outcome::Exited { code: 0 }),
            (exited(3), Outcome::Exited { code: 3 }),
            (exited(137), Outcome::Exited { code: 137 }),
            (killed.clone(), Outcome::Signaled { signal: 9 }),
            (Ended { out_of_memory: true, ..killed }, limited(Limit::Memory)),
            (Ended { out_of_memory: true, ..exited(137) }, limited(Limit::Memory)),
            (Ended { out_of_memory: true, ..exited(0) }, Outcome::Exited { code: 0 }),
            (Ended { out_of_cpu: true, lost: true, ..exited(1) }, limited(Limit::Cpu)),
            (Ended { out_of_processes: true, ..exited(254) }, limited(Limit::Processes)),
            (
                Ended { out_of_processes: true, ..raised("OSError", Some(11), "") },
                limited(Limit::Processes),
            ),
            (
                Ended { out_of_processes: true, ..raised("RuntimeError", None, "") },
                limited(Limit::Processes),
            ),
            (
                Ended { out_of_processes: true, ..raised("ValueError", None, "") },
                Outcome::Exited { code: 1 },
            ),
            (raised("OSError", Some(28), ""), limited(Limit::Disk)),
            (raised("OSError", Some(28), "files"), limited(Limit::Files)),
            (raised("OSError", Some(27), ""), limited(Limit::Disk)),
            (raised("OSError", Some(2), "disk"), Outcome::Exited { code: 1 }),
            (raised("ValueError", None, "disk"), Outcome::Exited { code: 1 }),
            (Ended { full: "disk".into(), ..exited(1) }, limited(Limit::Disk)),
            (Ended { full: "files".into(), ..exited(2) }, limited(Limit::Files)),
            (raised("MemoryError", None, ""), Outcome::Exited { code: 1 }),
        ] {
            assert_eq!(verdict(&ended, None, false), expected, "{ended:?}");
        }
        assert_eq!(verdict(&raised("MemoryError", None, ""), None, true), limited(Limit::Memory));
    }

    #[test]
    fn a_stop_counts_only_if_it_came_in_time() {
        let stop = Some(limited(Limit::Wall));
        let killed = Ended { signal: Some(9), lost: true, ..Ended::default() };
        assert_eq!(verdict(&killed, stop.clone(), false), limited(Limit::Wall));
        assert_eq!(verdict(&exited(0), stop, false), Outcome::Exited { code: 0 });
        for limit in [Limit::Output, Limit::Disk, Limit::Memory] {
            assert_eq!(verdict(&exited(0), Some(limited(limit)), false), limited(limit));
        }
    }
}
