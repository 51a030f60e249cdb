//! The launcher's loop: requests of the host, and processes that end.

use std::{
    fs,
    io::stdin,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    path::Path,
    time::{Duration, Instant},
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        prctl::{set_child_subreaper, set_name},
        signal::{SigSet, Signal},
        signalfd::{SfdFlags, SignalFd},
        stat::{Mode, umask},
    },
    unistd::{Pid, chdir, setsid},
};

use super::{
    cells::{Cells, Event},
    wire::{Facts, Reply, Request},
};
use crate::{groups, sys};

/// How long a launcher without a host goes on trying to clean up.
const LAST_PATIENCE: Duration = Duration::from_secs(15);

/// How soon something that waits for the kernel is looked at again, in milliseconds.
const SOON: u16 = 2;

/// What the launcher's process runs. Its standard input is the socket to the host, its argument the directory for
/// temporary files. Gives the exit code.
pub(crate) fn main() -> i32 {
    match serve() {
        Ok(()) => 0,
        Err(_) => 1,
    }
}

fn serve() -> nix::Result<()> {
    // Signals of the host's terminal are not meant for us.
    let _ = setsid();
    set_name(c"cellblock")?;
    set_child_subreaper(true)?;
    chdir("/")?;
    umask(Mode::from_bits_truncate(0o022));
    sys::close_from(3, &[])?;
    sys::reset_signals();
    let mut signals = SigSet::empty();
    let ends = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP];
    signals.add(Signal::SIGCHLD);
    ends.into_iter().for_each(|signal| signals.add(signal));
    signals.thread_block()?;
    let signals = SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;

    let host = stdin().as_fd().try_clone_to_owned().map_err(|_| nix::errno::Errno::EBADF)?;
    let facts = facts();
    let mut cells = Cells::new(facts, sys::open_process(Pid::this())?);
    if let Some(temporary) = std::env::args_os().nth(1) {
        cells.sweep_remains(Path::new(&temporary));
    }
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
        // A socket without another side is ready at all times.
        if !gone {
            ready.push(PollFd::new(host.as_fd(), PollFlags::POLLIN));
        }
        let count = match poll(&mut ready, wait) {
            Ok(count) => count,
            Err(nix::errno::Errno::EINTR) => continue,
            Err(error) => return Err(error),
        };
        let [signalled, asked] =
            [0, 1].map(|at: usize| ready.get(at).is_some_and(|fd| fd.any().unwrap_or(false)));
        let mut ending = false;
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

fn facts() -> Facts {
    let pid = std::process::id();
    let namespace = fs::metadata("/proc/self/ns/pid").map_or(0, |namespace| namespace.ino());
    let started = crate::watch::started(pid as i32).unwrap_or(0);
    let name = format!("cellblock-{namespace}-{pid}-{started}");
    let (groups, groups_missing) = groups::find(&format!("{name}-0"));
    Facts {
        groups,
        groups_missing,
        name,
        landlock: sys::landlock_version(),
        lists_children: fs::exists("/proc/thread-self/children").unwrap_or(false),
    }
}
