//! The launcher's loop: it waits for requests of the host and for processes that end.

use std::{
    io::stdin,
    os::fd::{AsFd, OwnedFd},
    path::Path,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        prctl::{set_child_subreaper, set_name},
        signal::{SigSet, Signal},
        signalfd::{SfdFlags, SignalFd},
    },
    unistd::Pid,
};

use super::cells::Cells;
use crate::{
    protocol::{CellKind, HostFacts, Reply, Request},
    sys,
};

/// The maximum time for which a launcher without a host tries to clean up.
const CLEANUP_TIMEOUT: Duration = Duration::from_secs(15);

/// The pause before something that waits for the kernel is looked at again, in milliseconds.
const POLL_INTERVAL_MS: u16 = 2;

/// Serves the host on standard input until the host or the keeper has ended. `temporary` is the
/// directory that contains the directories of cells.
pub fn serve(facts: HostFacts, temporary: &Path, keeper: &OwnedFd) -> nix::Result<()> {
    set_name(c"cellblock")?;
    set_child_subreaper(true)?;
    let signals = block_signals()?;
    let host = stdin().as_fd().try_clone_to_owned().map_err(|_| Errno::EBADF)?;
    let mut cells = Cells::new(facts, sys::open_process(Pid::this())?);
    cells.remove_remains(temporary);
    let mut prepare = None;
    let mut deadline = None;
    loop {
        let gone = deadline.is_some();
        if deadline.is_some_and(|deadline| cells.are_gone() || deadline < Instant::now()) {
            return Ok(());
        }
        let wait = match (&prepare, cells.is_waiting() || gone) {
            (Some(_), _) => PollTimeout::ZERO,
            (None, true) => PollTimeout::from(POLL_INTERVAL_MS),
            (None, false) => PollTimeout::NONE,
        };
        let mut ready = vec![PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        // A peer that has ended would be ready at all times.
        if !gone {
            ready.push(PollFd::new(host.as_fd(), PollFlags::POLLIN));
            ready.push(PollFd::new(keeper.as_fd(), PollFlags::POLLIN));
        }
        let count = match poll(&mut ready, wait) {
            Ok(count) => count,
            Err(Errno::EINTR) => continue,
            Err(error) => return Err(error),
        };
        let [signalled, requested, mut ending] =
            [0, 1, 2].map(|at: usize| ready.get(at).is_some_and(|fd| fd.any().unwrap_or(false)));
        if signalled {
            while let Ok(Some(signal)) = signals.read_signal() {
                ending |= signal.ssi_signo != Signal::SIGCHLD as u32;
            }
            cells.reap().iter().for_each(|reply| send(&host, reply));
        }
        if requested {
            match sys::receive(host.as_fd()) {
                Ok(Some((bytes, descriptors))) => {
                    if let Ok(request) = serde_json::from_slice(&bytes) {
                        let reply = handle(&mut cells, request, descriptors, &mut prepare);
                        reply.iter().for_each(|reply| send(&host, reply));
                    }
                }
                // Without its host, the launcher only has to clean up.
                Ok(None) | Err(_) => ending = true,
            }
        }
        if ending && !gone {
            cells.end_all();
            deadline = Some(Instant::now() + CLEANUP_TIMEOUT);
            prepare = None;
        }
        cells.settle().iter().for_each(|reply| send(&host, reply));
        // Nobody waits, so this is the time to work in advance.
        if count == 0 {
            prepare.take().into_iter().for_each(|kind| cells.prepare(kind));
        }
    }
}

/// Blocks the signals that the loop handles. Returns a descriptor to read them from.
fn block_signals() -> nix::Result<SignalFd> {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        signals.add(signal);
    }
    signals.thread_block()?;
    SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}

/// Handles a request. Returns the reply if it is known already.
fn handle(
    cells: &mut Cells,
    request: Request,
    descriptors: Vec<OwnedFd>,
    prepare: &mut Option<CellKind>,
) -> Option<Reply> {
    match request {
        Request::Describe => return Some(Reply::Facts(cells.facts().clone())),
        Request::Prepare(kind) => *prepare = Some(kind),
        Request::Start(start) => return cells.start(start, descriptors.try_into().ok()?),
        Request::Stop(cell, limits) => return cells.stop(cell, limits),
        Request::Trim(cell, limits) => return cells.trim(cell, limits),
        Request::Halt(cell) => cells.halt(cell),
        Request::End(cell) => cells.end(cell),
    }
    None
}

/// Sends a reply. If the host does not receive it, it has ended, which the loop will see.
fn send(host: &OwnedFd, reply: &Reply) {
    let text = serde_json::to_vec(reply).unwrap_or_default();
    let _ = sys::send(host.as_fd(), &text, &[]);
}
