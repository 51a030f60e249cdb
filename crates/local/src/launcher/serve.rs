//! The launcher's loop: requests of the host, and processes that end.

use std::{
    io::stdin,
    os::fd::{AsFd, OwnedFd},
    path::Path,
    time::{Duration, Instant},
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        prctl::{set_child_subreaper, set_name},
        signal::{SigSet, Signal},
        signalfd::{SfdFlags, SignalFd},
    },
    unistd::Pid,
};

use super::{
    cells::{Cells, Event},
    wire::{Facts, Reply, Request},
};
use crate::sys;

/// How long a launcher without a host goes on trying to clean up.
const LAST_PATIENCE: Duration = Duration::from_secs(15);

/// How soon something that waits for the kernel is looked at again, in milliseconds.
const SOON: u16 = 2;

/// Serves the host on standard input until the host, or the keeper, has ended. `temporary` is the
/// directory for the directories of cells.
pub(super) fn serve(facts: Facts, temporary: &Path, keeper: &OwnedFd) -> nix::Result<()> {
    set_name(c"cellblock")?;
    set_child_subreaper(true)?;
    let mut signals = SigSet::empty();
    let ends = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP];
    signals.add(Signal::SIGCHLD);
    ends.into_iter().for_each(|signal| signals.add(signal));
    signals.thread_block()?;
    let signals = SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;

    let host = stdin().as_fd().try_clone_to_owned().map_err(|_| nix::errno::Errno::EBADF)?;
    let mut cells = Cells::new(facts, sys::open_process(Pid::this())?);
    cells.sweep_remains(temporary);
    let mut prepare = None;
    let mut deadline = None;
    loop {
        let gone = deadline.is_some();
        if deadline.is_some_and(|deadline| cells.are_gone() || deadline < Instant::now()) {
            return Ok(());
        }
        let wait = match (&prepare, cells.is_waiting() || gone) {
            (Some(_), _) => PollTimeout::ZERO,
            (None, true) => PollTimeout::from(SOON),
            (None, false) => PollTimeout::NONE,
        };
        let mut ready = vec![PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        // Another side that is gone is ready at all times.
        if !gone {
            ready.push(PollFd::new(host.as_fd(), PollFlags::POLLIN));
            ready.push(PollFd::new(keeper.as_fd(), PollFlags::POLLIN));
        }
        let count = match poll(&mut ready, wait) {
            Ok(count) => count,
            Err(nix::errno::Errno::EINTR) => continue,
            Err(error) => return Err(error),
        };
        let [signalled, asked, mut ending] =
            [0, 1, 2].map(|at: usize| ready.get(at).is_some_and(|fd| fd.any().unwrap_or(false)));
        if signalled {
            while let Ok(Some(signal)) = signals.read_signal() {
                ending |= signal.ssi_signo != Signal::SIGCHLD as u32;
            }
            cells.reap().into_iter().for_each(|event| tell(&host, event));
        }
        if asked {
            match sys::receive(host.as_fd()) {
                Ok(Some((bytes, descriptors))) => {
                    if let Ok(request) = serde_json::from_slice(&bytes) {
                        answer(&mut cells, &host, request, descriptors, &mut prepare);
                    }
                }
                // Without its host there is nothing to do but to leave nothing behind.
                Ok(None) | Err(_) => ending = true,
            }
        }
        if ending && !gone {
            cells.end_all();
            deadline = Some(Instant::now() + LAST_PATIENCE);
            prepare = None;
        }
        cells.settle().into_iter().for_each(|event| tell(&host, event));
        // Nobody waits: the time for work in advance.
        if count == 0 {
            prepare.take().into_iter().for_each(|kind| cells.prepare(kind));
        }
    }
}

fn answer(
    cells: &mut Cells,
    host: &OwnedFd,
    request: Request,
    descriptors: Vec<OwnedFd>,
    prepare: &mut Option<super::wire::Kind>,
) {
    match request {
        Request::Describe => reply(host, &Reply::Facts(cells.facts().clone())),
        Request::Prepare(kind) => *prepare = Some(kind),
        Request::Start(start) => {
            let Ok(descriptors) = descriptors.try_into() else { return };
            cells.start(start, descriptors).into_iter().for_each(|event| tell(host, event));
        }
        Request::Stop(cell, too_much) => {
            cells.stop(cell, too_much).into_iter().for_each(|event| tell(host, event))
        }
        Request::Trim(cell, room) => {
            cells.trim(cell, room, Vec::new()).into_iter().for_each(|event| tell(host, event))
        }
        Request::Halt(cell) => cells.halt(cell),
        Request::End(cell) => cells.end(cell),
    }
}

fn tell(host: &OwnedFd, event: Event) {
    reply(
        host,
        &match event {
            Event::Started(cell, process) => Reply::Started { cell, process },
            Event::Died(cell, out_of_memory) => Reply::Died { cell, out_of_memory },
            Event::Done(cell) => Reply::Done(cell),
            Event::Ended(cell, left) => Reply::Ended { cell, left },
        },
    );
}

/// A host that does not listen is a host that has ended, which the loop will see.
fn reply(host: &OwnedFd, reply: &Reply) {
    let text = serde_json::to_vec(reply).unwrap_or_default();
    let _ = sys::send(host.as_fd(), &text, &[]);
}
