//! One turn of a guest under its limits, and what became of it.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use cellblock_exec::{Cause, Error, Limit, Outcome, Result};
use nix::time::{ClockId, clock_gettime};
use tokio_util::sync::CancellationToken;
use wasmtime::Trap;
use wasmtime_wasi::I32Exit;

use crate::{
    host::{Host, Stop},
    memory::Slot,
};

/// The bounds of a turn.
pub(crate) struct Bounds {
    pub(crate) wall: Duration,
    pub(crate) cpu: Option<Duration>,
    pub(crate) cancel: CancellationToken,
}

/// How a turn ended.
pub(crate) struct Ended {
    pub(crate) outcome: Outcome,
    /// Whether the interpreter can go on.
    pub(crate) alive: bool,
    pub(crate) wall: Duration,
    pub(crate) cpu: Duration,
    pub(crate) fuel: Option<u64>,
}

/// Runs `source` in the slot. `fuel` is what it may use, where the engine counts it.
///
/// Dropping the future stops the guest at its next yield, within milliseconds.
pub(crate) async fn run(
    slot: &mut Slot,
    source: &[u8],
    bounds: &Bounds,
    fuel: Option<u64>,
) -> Result<Ended> {
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
            Metered { turn: Box::pin(slot.turn(source)), used: &mut cpu, limit: bounds.cpu };
        tokio::select! {
            biased;
            () = bounds.cancel.cancelled() => Err(Outcome::Cancelled),
            ended = metered => ended,
            () = tokio::time::sleep(bounds.wall) => Err(Outcome::LimitExceeded { limit: Limit::Wall }),
        }
    };
    let wall = started.elapsed();
    let left = fuel.and(slot.store.get_fuel().ok());
    let host = slot.store.data_mut();
    let (outcome, alive) = match ended {
        Ok(Ok(code)) => (returned(host, code), true),
        Ok(Err(error)) => trapped(host, error)?,
        Err(outcome) => (outcome, false),
    };
    let fuel = fuel.zip(left).map(|(fuel, left)| fuel - left.min(fuel));
    Ok(Ended { outcome, alive, wall, cpu, fuel })
}

/// What a turn that came back says of the program.
fn returned(host: &mut Host, code: i32) -> Outcome {
    let hit = host.limit_hit();
    let Some(status) = host.turn.status.take() else {
        // The driver says nothing of a success; a failure without its word is a guest that broke its driver.
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

/// What an error that ended the guest means for the program, and whether the interpreter can go on.
fn trapped(host: &mut Host, error: wasmtime::Error) -> Result<(Outcome, bool)> {
    const SIGILL: i32 = 4;
    const SIGABRT: i32 = 6;
    const SIGFPE: i32 = 8;
    const SIGSEGV: i32 = 11;
    let hit = host.limit_hit();
    if let Some(Stop::Flood) = error.downcast_ref() {
        return Ok((Outcome::LimitExceeded { limit: Limit::Output }, false));
    }
    if let Some(I32Exit(code)) = error.downcast_ref() {
        return Ok((Outcome::Exited { code: *code }, false));
    }
    let Some(trap) = error.downcast_ref::<Trap>() else {
        if error.is::<wasmtime::ThrownException>() {
            // A C++ exception that nobody catches aborts a native process, too.
            return Ok((Outcome::Signaled { signal: SIGABRT }, false));
        }
        return Err(Error::Lost {
            what: "the guest could not go on".to_owned(),
            source: Cause::from(error),
        });
    };
    let signal = match trap {
        Trap::OutOfFuel => return Ok((Outcome::LimitExceeded { limit: Limit::Cpu }, false)),
        // A C library that gets no memory often has no other way than to abort.
        Trap::UnreachableCodeReached if hit == Some(Limit::Memory) => {
            return Ok((Outcome::LimitExceeded { limit: Limit::Memory }, false));
        }
        Trap::UnreachableCodeReached => SIGABRT,
        Trap::IntegerOverflow | Trap::IntegerDivisionByZero | Trap::BadConversionToInteger => {
            SIGFPE
        }
        Trap::IndirectCallToNull | Trap::BadSignature => SIGILL,
        _ => SIGSEGV,
    };
    Ok((Outcome::Signaled { signal }, false))
}

/// A turn whose processor time is counted. A guest yields every few milliseconds, so counting at each poll is enough to
/// hold it to a limit.
struct Metered<'t, F> {
    turn: Pin<Box<F>>,
    used: &'t mut Duration,
    limit: Option<Duration>,
}

impl<F: Future> Future for Metered<'_, F> {
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

/// The processor time of this thread.
fn thread_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from).unwrap_or_default()
}
