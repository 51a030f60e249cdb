//! The keeper: the launcher's parent, which leaves nothing behind if the launcher is killed.
//!
//! A cell that shares the host's process numbers does not end with its first process. Its programs
//! pass to the nearest process above that collects orphans: to the launcher, and if that has been
//! killed, to the keeper, which ends them, waits until they are gone, and removes what they had.
//! The launcher watches the keeper in turn. Only if both are killed at once, a later launcher has
//! to find what is left, by control groups (`remains.rs`).

use std::{
    fs,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::fs::MetadataExt,
    },
    path::Path,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sched::CloneFlags,
    sys::{
        prctl::{set_child_subreaper, set_name},
        stat::{Mode, umask},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{Pid, chdir, dup2_stdin, setsid},
};

use super::{remains, serve::serve, tree, wire::Facts};
use crate::{
    groups,
    sys::{self, Forked},
};

/// How long the keeper goes on killing what does not end. The kernel needs milliseconds, unless it
/// waits for a device.
const PATIENCE: Duration = Duration::from_secs(15);

/// How long is waited between two looks at what was killed.
const SOON: Duration = Duration::from_millis(2);

/// Runs the keeper and its launcher. Standard input is the socket to the host, the first argument
/// the directory for temporary files. Returns the exit code.
pub(crate) fn main() -> i32 {
    keep().unwrap_or(1)
}

fn keep() -> nix::Result<i32> {
    // Signals of the host's terminal are not meant for us.
    let _ = setsid();
    set_name(c"cellblock-keeper")?;
    set_child_subreaper(true)?;
    chdir("/")?;
    umask(Mode::from_bits_truncate(0o022));
    sys::close_from(3, &[])?;
    sys::reset_signals();
    let temporary = std::env::args_os().nth(1).ok_or(Errno::EINVAL)?;
    let temporary = Path::new(&temporary);
    let facts = facts();
    let keeper = sys::open_process(Pid::this())?;
    let launcher = match sys::fork_into(CloneFlags::empty())? {
        Forked::Child => sys::exit(i32::from(serve(facts, temporary, &keeper).is_err())),
        Forked::Parent(launcher) => launcher,
    };
    // The launcher alone has the socket, so that the host sees its end.
    dup2_stdin(null()?.as_fd())?;
    let code = wait_for(launcher);
    end_descendants();
    remains::remove_own(&facts, temporary);
    Ok(code)
}

fn null() -> nix::Result<OwnedFd> {
    nix::fcntl::open("/dev/null", nix::fcntl::OFlag::O_RDWR, Mode::empty())
}

fn wait_for(launcher: Pid) -> i32 {
    loop {
        match waitpid(launcher, None) {
            Ok(WaitStatus::Exited(_, code)) => return code,
            Ok(WaitStatus::StillAlive) | Err(Errno::EINTR) => {}
            Ok(_) | Err(_) => return 1,
        }
    }
}

/// Kills everything below this process and waits until it is gone.
fn end_descendants() {
    let begin = Instant::now();
    while begin.elapsed() < PATIENCE {
        tree::kill_below(std::process::id() as i32);
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) => break,
                // No child is left, so nothing is left below them either.
                Err(Errno::ECHILD) => return,
                _ => {}
            }
        }
        std::thread::sleep(SOON);
    }
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
