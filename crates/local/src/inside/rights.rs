//! Removing rights from the first process of a cell.

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

use crate::{
    failure::{Failure, StepContext},
    sys,
};

/// The user and group that programs run as in namespaces, and at each level if the launcher is
/// root: `nobody`, which owns nothing.
pub const NOBODY: u32 = 65534;

/// The maximum number of open descriptors in a process: more than programs use, and few enough to
/// keep their cost for the kernel small.
const MAX_DESCRIPTORS: u64 = 4096;

/// Becomes `nobody` in a new user namespace. Outside of it, the process keeps the caller's user.
pub fn map_user(uid: Uid, gid: Gid) -> Result<(), Failure> {
    let write = |name: &str, text: String| {
        fs::write(format!("/proc/self/{name}"), text)
            .step(|| format!("write {name} of the user namespace"))
    };
    // A process that can set its groups could leave a group that denies it something.
    write("setgroups", "deny".to_owned())?;
    write("uid_map", format!("{NOBODY} {uid} 1\n"))?;
    write("gid_map", format!("{NOBODY} {gid} 1\n"))
}

/// Becomes `nobody` without any group if this process is root, and drops all capabilities.
pub fn drop_privileges(root: bool) -> Result<(), Failure> {
    if root {
        let (uid, gid) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
        // Without CAP_SETPCAP the bounding set cannot be emptied. It has no effect on an ordinary
        // user who can gain no privileges.
        let _ = sys::drop_bounding_set();
        setgroups(&[]).step(|| "drop supplementary groups".to_owned())?;
        setresgid(gid, gid, gid).step(|| "become the group nobody".to_owned())?;
        setresuid(uid, uid, uid).step(|| "become the user nobody".to_owned())?;
    } else {
        let _ = sys::drop_bounding_set();
    }
    sys::drop_capabilities().step(|| "drop capabilities".to_owned())
}

/// Ties this process to the launcher, so that it is killed when the launcher ends. A change of
/// credentials clears this, so it comes again after the last one.
pub fn die_with(launcher: BorrowedFd<'_>) -> Result<(), Failure> {
    set_pdeathsig(Signal::SIGKILL).step(|| "tie this process to the launcher".to_owned())?;
    // The launcher may have ended just before. The number of the parent would not show that:
    // another process may have it, or the parent cannot be seen from here.
    let mut ended = [PollFd::new(launcher, PollFlags::POLLIN)];
    match poll(&mut ended, PollTimeout::ZERO) {
        Ok(0) => Ok(()),
        _ => Err(Failure::new("start a cell", "the launcher has ended")),
    }
}

/// Sets the resource limits that do not depend on the session.
pub fn limit_resources() -> Result<(), Failure> {
    let (_, maximum) = getrlimit(Resource::RLIMIT_NOFILE).step(|| "read a limit".to_owned())?;
    let descriptors = maximum.min(MAX_DESCRIPTORS);
    let limits = [
        (Resource::RLIMIT_NOFILE, descriptors),
        (Resource::RLIMIT_CORE, 0),
        (Resource::RLIMIT_MEMLOCK, 64 * 1024),
        (Resource::RLIMIT_RTPRIO, 0),
        (Resource::RLIMIT_NICE, 0),
    ];
    for (resource, value) in limits {
        let (_, maximum) = getrlimit(resource).step(|| "read a limit".to_owned())?;
        let value = value.min(maximum);
        setrlimit(resource, value, value).step(|| format!("set {resource:?}"))?;
    }
    Ok(())
}
