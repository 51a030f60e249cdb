//! Everything that a guest can call.
//!
//! Files are ours ([`crate::calls`]), and so is every call that could hold a thread (random bytes
//! and sleep) or takes a pointer: in `wasmtime-wasi` a wrong pointer is an error of the host, here
//! it is the guest's `EFAULT`. The remaining calls are those of `wasmtime-wasi`, whose context has
//! no directory, no stream and no socket.

use std::time::Duration;

use wasmtime::{Caller, Engine, Linker};
use wasmtime_wasi::I32Exit;

use crate::{
    calls, clock,
    fs::Errno,
    host::{GuestMemory, Host, WASI_P1, guest_call},
};

/// Returns a linker with everything that a guest can call.
pub fn linker(engine: &Engine) -> wasmtime::Result<Linker<Host>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p1::add_to_linker_async(&mut linker, |host: &mut Host| &mut host.wasi)?;
    linker.allow_shadowing(true);
    calls::add_to_linker(&mut linker)?;
    linker.func_wrap_async(
        WASI_P1,
        "fd_read",
        |caller, (fd, vectors, count, out): (u32, u32, u32, u32)| {
            Box::new(fd_read(caller, fd, vectors, count, out))
        },
    )?;
    linker.func_wrap_async(WASI_P1, "random_get", |caller, (pointer, len): (u32, u32)| {
        Box::new(random_get(caller, pointer, len))
    })?;
    linker.func_wrap_async(
        WASI_P1,
        "poll_oneoff",
        |caller, (list, events, count, out): (u32, u32, u32, u32)| {
            Box::new(poll_oneoff(caller, list, events, count, out))
        },
    )?;
    add_clock_calls(&mut linker)?;
    add_empty_lists(&mut linker)?;
    linker.func_wrap(WASI_P1, "proc_raise", |_: u32| Errno::Notsup as i32)?;
    // An exit code is the lowest byte, as for processes. `proc_exit` of `wasmtime-wasi` takes only
    // codes below 126.
    linker.func_wrap(WASI_P1, "proc_exit", |code: u32| -> wasmtime::Result<()> {
        Err(I32Exit((code & 0xFF) as i32).into())
    })?;
    // The guest imports it, but calls the host through the control device, where it can wait for
    // the answer (`fd_read`).
    linker.func_wrap("host", "call", |_: u32, _: u32, _: u32, _: u32| -> i32 { -1 })?;
    Ok(linker)
}

fn add_clock_calls(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    type C<'a> = Caller<'a, Host>;
    linker.func_wrap(WASI_P1, "clock_res_get", |mut caller: C<'_>, clock: u32, out: u32| {
        guest_call(&mut caller, |_, memory| {
            now(clock)?;
            memory.write(out, &1u64.to_le_bytes())
        })
    })?;
    linker.func_wrap(
        WASI_P1,
        "clock_time_get",
        |mut caller: C<'_>, clock: u32, _precision: u64, out: u32| {
            guest_call(&mut caller, |_, memory| memory.write(out, &now(clock)?.to_le_bytes()))
        },
    )?;
    Ok(())
}

/// Reads a clock, in nanoseconds: 0 is the time of day, 1 the clock that never goes back.
fn now(clock: u32) -> Result<u64, Errno> {
    match clock {
        0 => Ok(clock::realtime()),
        1 => Ok(clock::monotonic()),
        _ => Err(Errno::Inval),
    }
}

/// Adds the calls for arguments and environment, which are empty. A session passes its environment
/// to the driver.
fn add_empty_lists(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    for list in ["args_get", "environ_get"] {
        linker.func_wrap(WASI_P1, list, |_: u32, _: u32| Errno::Success as i32)?;
    }
    for sizes in ["args_sizes_get", "environ_sizes_get"] {
        linker.func_wrap(
            WASI_P1,
            sizes,
            |mut caller: Caller<'_, Host>, count: u32, bytes: u32| {
                guest_call(&mut caller, |_, memory| {
                    memory.write(count, &[0; 4])?;
                    memory.write(bytes, &[0; 4])
                })
            },
        )?;
    }
    Ok(())
}

/// Reads from a descriptor. If it is the control device, waits first for the answer to the
/// program's question.
async fn fd_read(mut caller: Caller<'_, Host>, fd: u32, vectors: u32, count: u32, out: u32) -> i32 {
    if caller.data().turn.question.is_some() && caller.data().fs.reads_control(fd) {
        answer_question(&mut caller).await;
    }
    calls::read_call(&mut caller, fd, vectors, count, out)
}

/// Asks the host the program's question. Meanwhile the guest is suspended and holds no thread.
async fn answer_question(caller: &mut Caller<'_, Host>) {
    let turn = &mut caller.data_mut().turn;
    let Some(question) = turn.question.take() else { return };
    let calls = turn.calls.clone().unwrap_or_default();
    let answer = calls.answer(question).await;
    caller.data_mut().turn.set_answer(answer);
}

/// Fills memory with random bytes, piece by piece: a guest that asks for gigabytes must not hold
/// its thread.
async fn random_get(mut caller: Caller<'_, Host>, pointer: u32, len: u32) -> i32 {
    const PIECE: u32 = 256 * 1024;
    let mut done = 0;
    while done < len {
        let piece = PIECE.min(len - done);
        let result = guest_call(&mut caller, |_, memory| {
            let start = pointer.checked_add(done).ok_or(Errno::Fault)?;
            getrandom::fill(memory.slice_mut(start, piece)?).map_err(|_| Errno::Again)
        });
        if result != Errno::Success as i32 {
            return result;
        }
        done += piece;
        if done < len {
            tokio::task::yield_now().await;
        }
    }
    Errno::Success as i32
}

/// The maximum number of events that one `poll_oneoff` can wait for.
const MAX_SUBSCRIPTIONS: u32 = 1024;

/// An event that `poll_oneoff` waits for.
struct Subscription {
    userdata: [u8; 8],
    event: u8,
    /// The time until the event; zero for files and streams, which are always ready.
    after: Duration,
}

/// Waits for the first of the guest's subscriptions without holding the thread.
async fn poll_oneoff(
    mut caller: Caller<'_, Host>,
    list: u32,
    events: u32,
    count: u32,
    out: u32,
) -> i32 {
    if count == 0 || count > MAX_SUBSCRIPTIONS {
        return Errno::Inval as i32;
    }
    let mut subscriptions = Vec::with_capacity(count as usize);
    let parsed = guest_call(&mut caller, |_, memory| {
        for index in 0..count {
            subscriptions.push(Subscription::parse(memory, list, index)?);
        }
        Ok(())
    });
    if parsed != Errno::Success as i32 {
        return parsed;
    }
    let first =
        subscriptions.iter().map(|subscription| subscription.after).min().unwrap_or_default();
    if !first.is_zero() {
        tokio::time::sleep(first).await;
    }
    guest_call(&mut caller, |_, memory| {
        let mut at = events;
        let mut happened = 0u32;
        for subscription in subscriptions.iter().filter(|subscription| subscription.after <= first)
        {
            let mut event = [0; 32];
            event[..8].copy_from_slice(&subscription.userdata);
            event[10] = subscription.event;
            memory.write(at, &event)?;
            at = at.checked_add(32).ok_or(Errno::Fault)?;
            happened += 1;
        }
        memory.write(out, &happened.to_le_bytes())
    })
}

impl Subscription {
    /// Reads the `index`th `subscription` record (48 bytes) of the list.
    fn parse(memory: &GuestMemory<'_>, list: u32, index: u32) -> Result<Self, Errno> {
        const CLOCK: u8 = 0;
        const ABSOLUTE: u32 = 1;
        let at = list.checked_add(index * 48).ok_or(Errno::Fault)?;
        let record = memory.slice(at, 48)?;
        let (mut userdata, event) = ([0; 8], record[8]);
        userdata.copy_from_slice(&record[..8]);
        if event != CLOCK {
            return Ok(Self { userdata, event, after: Duration::ZERO });
        }
        let clock = memory.read_u32(at + 16)?;
        let timeout = memory.read_u64(at + 24)?;
        let absolute = memory.read_u32(at + 40)? & ABSOLUTE != 0;
        let now = now(clock)?;
        let after = if absolute { timeout.saturating_sub(now) } else { timeout };
        Ok(Self { userdata, event, after: Duration::from_nanos(after) })
    }
}
