//! Taking rights away from the first process of a cell.

use std::{fs, os::fd::BorrowedFd};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        prctl::set_pdeathsig,
        resource::{Resource, getrlimit, setrlimit},
        signal::Signal,
    },
    unistd::{Gid, Uid, setgroups, setresgid, setresuid},
};

use super::root::NOBODY;
use crate::{
    launcher::wire::{Failure, Step},
    sys,
};

/// Descriptors that a process may have open: more than programs use, and few enough to keep what they cost the kernel
/// small.
const DESCRIPTORS: u64 = 4096;

/// In a new user namespace, becomes `nobody` there; outside it is the caller's own user.
pub(crate) fn map_user(uid: Uid, gid: Gid) -> Result<(), Failure> {
    let write = |name: &str, text: String| {
        fs::write(format!("/proc/self/{name}"), text)
            .step(|| format!("write {name} of the user namespace"))
    };
    // A process that may set its groups could leave one that denies it something.
    write("setgroups", "deny".to_owned())?;
    write("uid_map", format!("{NOBODY} {uid} 1\n"))?;
    write("gid_map", format!("{NOBODY} {gid} 1\n"))
}

/// Becomes `nobody` without any group, if this process is root, and gives up all capabilities.
pub(crate) fn give_up(root: bool) -> Result<(), Failure> {
    if root {
        let (uid, gid) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
        // Without this capability the bounding set cannot be emptied; it has no effect on an ordinary user who may gain no
        // privileges.
        let _ = sys::drop_bounding_set();
        setgroups(&[]).step(|| "drop supplementary groups".to_owned())?;
        setresgid(gid, gid, gid).step(|| "become the group nobody".to_owned())?;
        setresuid(uid, uid, uid).step(|| "become the user nobody".to_owned())?;
    } else {
        let _ = sys::drop_bounding_set();
    }
    sys::drop_capabilities().step(|| "drop capabilities".to_owned())
}

/// Ends with the launcher. It comes after the last change of credentials, which would clear it.
pub(crate) fn end_with(launcher: BorrowedFd<'_>) -> Result<(), Failure> {
    set_pdeathsig(Signal::SIGKILL).step(|| "tie this process to the launcher".to_owned())?;
    // It may have ended just before. Its number would not tell: another process may have it, or none that is seen here.
    let mut ended = [PollFd::new(launcher, PollFlags::POLLIN)];
    match poll(&mut ended, PollTimeout::ZERO) {
        Ok(0) => Ok(()),
        _ => Err(Failure {
            step: "start a cell".to_owned(),
            errno: 0,
            reason: "the launcher has ended".to_owned(),
        }),
    }
}

/// Limits of processes that are not about any session's limits.
pub(crate) fn bound() -> Result<(), Failure> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).step(|| "read a limit".to_owned())?;
    let descriptors = most.min(DESCRIPTORS);
    let limits = [
        (Resource::RLIMIT_NOFILE, descriptors),
        (Resource::RLIMIT_CORE, 0),
        (Resource::RLIMIT_MEMLOCK, 64 * 1024),
        (Resource::RLIMIT_RTPRIO, 0),
        (Resource::RLIMIT_NICE, 0),
    ];
    for (resource, value) in limits {
        let (_, most) = getrlimit(resource).step(|| "read a limit".to_owned())?;
        let value = value.min(most);
        setrlimit(resource, value, value).step(|| format!("set {resource:?}"))?;
    }
    Ok(())
}
