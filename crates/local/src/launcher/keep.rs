//! The keeper: the launcher's parent, which cleans up if the launcher is killed.
//!
//! A cell that shares the host's process numbers does not end with its first process. Its programs
//! pass to the nearest process above that collects orphans: to the launcher, and if that has been
//! killed, to the keeper. The keeper kills them, waits until they are gone, and removes their
//! groups and directories. The launcher watches the keeper in turn. Only if both are killed at
//! once, a later launcher has to find the remains by their control groups (`remains.rs`).

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
    fcntl::OFlag,
    sched::CloneFlags,
    sys::{
        prctl::{set_child_subreaper, set_name},
        stat::{Mode, umask},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{Pid, chdir, dup2_stdin, setsid},
};

use super::{remains, serve::serve, tree};
use crate::{groups, procfs, protocol::HostFacts, sys};

/// The maximum time for killing processes. The kernel needs milliseconds, unless a process waits
/// for a device.
const KILL_TIMEOUT: Duration = Duration::from_secs(15);

/// The pause between two looks at processes that were killed.
const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// Runs the keeper and its launcher. Standard input is the socket to the host, the first argument
/// the directory for temporary files. Returns the exit code.
pub fn main() -> i32 {
    keep().unwrap_or(1)
}

fn keep() -> nix::Result<i32> {
    // Signals of the host's terminal are not meant for this process.
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
    let launcher = sys::fork(CloneFlags::empty(), || {
        i32::from(serve(facts.clone(), temporary, &keeper).is_err())
    })?;
    // Only the launcher keeps the socket, so that the host sees its end.
    dup2_stdin(null()?.as_fd())?;
    let code = wait_for(launcher);
    end_descendants();
    remains::remove_own(&facts, temporary);
    Ok(code)
}

fn null() -> nix::Result<OwnedFd> {
    nix::fcntl::open("/dev/null", OFlag::O_RDWR, Mode::empty())
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
    while begin.elapsed() < KILL_TIMEOUT {
        tree::kill_below(std::process::id() as i32);
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) => break,
                // Without children there are no descendants either.
                Err(Errno::ECHILD) => return,
                _ => {}
            }
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

fn facts() -> HostFacts {
    let pid = std::process::id();
    let namespace = fs::metadata("/proc/self/ns/pid").map_or(0, |namespace| namespace.ino());
    let started = procfs::started(pid as i32).unwrap_or(0);
    let name = format!("cellblock-{namespace}-{pid}-{started}");
    let (groups, groups_missing) = groups::find(&format!("{name}-0"));
    HostFacts {
        groups,
        groups_missing,
        name,
        landlock: sys::landlock_version(),
        lists_children: fs::exists("/proc/thread-self/children").unwrap_or(false),
    }
}
