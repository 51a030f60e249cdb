//! Running one turn of a guest under its limits.
//!
//! Guests run as futures (fibers of wasmtime) and yield every 2 ms of epoch. So deadlines,
//! cancellation and dropped futures are noticed at once, and a guest that sleeps holds no thread.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use cellblock_exec::{Cause, Error, Limit, Outcome, Result};
use nix::{
    libc::{SIGABRT, SIGFPE, SIGILL, SIGSEGV},
    time::{ClockId, clock_gettime},
};
use tokio_util::sync::CancellationToken;
use wasmtime::Trap;
use wasmtime_wasi::I32Exit;

use crate::{
    host::{Host, OutputFlood},
    memory::Slot,
};

/// The bounds of a turn.
pub struct TurnBounds {
    pub wall: Duration,
    pub cpu: Option<Duration>,
    pub cancel: CancellationToken,
}

/// The end of a turn.
pub struct TurnEnd {
    pub outcome: Outcome,
    /// True if the interpreter can run another turn.
    pub alive: bool,
    pub wall: Duration,
    pub cpu: Duration,
    pub fuel: Option<u64>,
}

/// Runs `source` in the slot. `fuel` is the number of instructions that it may use, where the
/// engine counts them.
///
/// If the future is dropped, the guest stops at its next yield, within milliseconds.
pub async fn run(
    slot: &mut Slot,
    source: &[u8],
    bounds: &TurnBounds,
    fuel: Option<u64>,
) -> Result<TurnEnd> {
    let started = Instant::now();
    let failed = |source: wasmtime::Error| Error::Lost {
        what: "the turn did not start".to_owned(),
        source: source.into(),
    };
    if let Some(fuel) = fuel {
        slot.store.set_fuel(fuel).map_err(failed)?;
    }
    let mut cpu = Duration::ZERO;
    let ended = {
        let metered =
            CpuMetered { turn: Box::pin(slot.turn(source)), used: &mut cpu, limit: bounds.cpu };
        tokio::select! {
            biased;
            () = bounds.cancel.cancelled() => Err(Outcome::Cancelled),
            ended = metered => ended,
            () = tokio::time::sleep(bounds.wall) => {
                Err(Outcome::LimitExceeded { limit: Limit::Wall })
            }
        }
    };
    let wall = started.elapsed();
    let remaining = fuel.and(slot.store.get_fuel().ok());
    let host = slot.store.data_mut();
    let (outcome, alive) = match ended {
        Ok(Ok(code)) => (outcome_of_return(host, code), true),
        Ok(Err(error)) => (outcome_of_error(host, error)?, false),
        Err(outcome) => (outcome, false),
    };
    let fuel = fuel.zip(remaining).map(|(fuel, remaining)| fuel - remaining.min(fuel));
    Ok(TurnEnd { outcome, alive, wall, cpu, fuel })
}

/// Returns the program's outcome after its turn returned `code`.
fn outcome_of_return(host: &mut Host, code: i32) -> Outcome {
    let hit = host.take_limit_hit();
    let Some(status) = host.turn.status.take() else {
        // The driver reports only failures. A failure without a report comes from a guest that
        // broke its driver.
        return Outcome::Exited { code };
    };
    match (status.exception.as_deref(), hit) {
        (Some("MemoryError"), Some(Limit::Memory)) => {
            Outcome::LimitExceeded { limit: Limit::Memory }
        }
        (Some("OSError"), Some(limit @ (Limit::Disk | Limit::Files))) => {
            Outcome::LimitExceeded { limit }
        }
        _ => Outcome::Exited { code: status.code },
    }
}

/// Returns the program's outcome after an error stopped the guest.
fn outcome_of_error(host: &mut Host, error: wasmtime::Error) -> Result<Outcome> {
    let hit = host.take_limit_hit();
    if error.is::<OutputFlood>() {
        return Ok(Outcome::LimitExceeded { limit: Limit::Output });
    }
    if let Some(I32Exit(code)) = error.downcast_ref() {
        return Ok(Outcome::Exited { code: *code });
    }
    let Some(trap) = error.downcast_ref::<Trap>() else {
        if error.is::<wasmtime::ThrownException>() {
            // A C++ exception that is not caught aborts a native process, too.
            return Ok(Outcome::Signaled { signal: SIGABRT });
        }
        return Err(Error::Lost {
            what: "the guest could not continue".to_owned(),
            source: Cause::from(error),
        });
    };
    let signal = match trap {
        Trap::OutOfFuel => return Ok(Outcome::LimitExceeded { limit: Limit::Cpu }),
        // A C library that gets no memory often can only abort.
        Trap::UnreachableCodeReached if hit == Some(Limit::Memory) => {
            return Ok(Outcome::LimitExceeded { limit: Limit::Memory });
        }
        Trap::UnreachableCodeReached => SIGABRT,
        Trap::IntegerOverflow | Trap::IntegerDivisionByZero | Trap::BadConversionToInteger => {
            SIGFPE
        }
        Trap::IndirectCallToNull | Trap::BadSignature => SIGILL,
        _ => SIGSEGV,
    };
    Ok(Outcome::Signaled { signal })
}

/// A turn whose processor time is counted. A guest yields every few milliseconds, so it is enough
/// to compare the time with its limit after each poll.
struct CpuMetered<'t, F> {
    turn: Pin<Box<F>>,
    used: &'t mut Duration,
    limit: Option<Duration>,
}

impl<F: Future> Future for CpuMetered<'_, F> {
    type Output = Result<F::Output, Outcome>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let before = thread_time();
        let polled = self.turn.as_mut().poll(context);
        *self.used += thread_time().saturating_sub(before);
        match polled {
            Poll::Ready(ended) => Poll::Ready(Ok(ended)),
            Poll::Pending if self.limit.is_some_and(|limit| *self.used >= limit) => {
                Poll::Ready(Err(Outcome::LimitExceeded { limit: Limit::Cpu }))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

/// Returns the processor time of this thread.
fn thread_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from).unwrap_or_default()
}
