//! Processes: making one in new namespaces, and taking from it what it must not have.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::{
    sched::CloneFlags,
    unistd::{Gid, Pid, Uid, setfsgid, setfsuid},
};

use super::checked;

/// Which side of a fork this is.
pub(crate) enum Forked {
    /// The process that forked, with the new process.
    Parent(Pid),
    /// The new process.
    Child,
}

/// Forks, the new process in new namespaces.
///
/// Only for the launcher: it has one thread, so the new process may do anything, as after a fork in C. What the C library
/// remembers of the thread's number is wrong in the new process; it is used for signals to itself only, which are not
/// sent.
pub(crate) fn fork_into(namespaces: CloneFlags) -> nix::Result<Forked> {
    let flags = libc::c_long::from(namespaces.bits() | libc::SIGCHLD);
    // SAFETY: without a stack and without sharing memory this is a fork; there is one thread, so no lock is held by
    // another.
    match checked(unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) })? {
        0 => Ok(Forked::Child),
        pid => Ok(Forked::Parent(Pid::from_raw(pid as libc::pid_t))),
    }
}

/// A descriptor for a process. It becomes readable when the process has ended.
pub(crate) fn open_process(pid: Pid) -> nix::Result<OwnedFd> {
    // SAFETY: no pointers are passed.
    let fd = checked(unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) })?;
    // SAFETY: the kernel has just made this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Sends a signal to exactly the process that was opened, even if its number now belongs to another.
pub(crate) fn signal_process(process: BorrowedFd<'_>, signal: libc::c_int) -> nix::Result<()> {
    let nothing = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: the signal's information may be absent.
    checked(unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), signal, nothing, 0)
    })?;
    Ok(())
}

/// Closes all descriptors from `first` on, but not `kept`.
///
/// For a process that has just been forked and does not return to the code that owns the descriptors.
pub(crate) fn close_from(first: RawFd, kept: &[BorrowedFd<'_>]) -> nix::Result<()> {
    let mut kept: Vec<RawFd> =
        kept.iter().map(AsRawFd::as_raw_fd).filter(|fd| *fd >= first).collect();
    kept.sort_unstable();
    let mut from = first;
    for fd in kept {
        if from < fd {
            close_range(from as libc::c_uint, (fd - 1) as libc::c_uint, 0)?;
        }
        from = fd + 1;
    }
    close_range(from as libc::c_uint, libc::c_uint::MAX, 0)
}

/// Marks all descriptors from `first` on to be closed by the next exec.
pub(crate) fn mark_close_on_exec_from(first: RawFd) -> nix::Result<()> {
    close_range(first as libc::c_uint, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC)
}

fn close_range(first: libc::c_uint, last: libc::c_uint, flags: libc::c_uint) -> nix::Result<()> {
    // SAFETY: no pointers are passed. Whoever owned the descriptors does not run in this process.
    checked(unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) })?;
    Ok(())
}

/// Does something with another user's right to files and to look into processes. Only this thread
/// has it, and only meanwhile; a process that may not change its user keeps its own.
pub(crate) fn as_user<T>(user: Uid, group: Gid, act: impl FnOnce() -> T) -> T {
    struct Back(Uid, Gid);
    impl Drop for Back {
        fn drop(&mut self) {
            setfsuid(self.0);
            setfsgid(self.1);
        }
    }
    let own_group = setfsgid(group);
    let _back = Back(setfsuid(user), own_group);
    act()
}

/// Gives each signal its default action and blocks none: a program must not begin with its parent's choices.
pub(crate) fn reset_signals() {
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: the default action runs no code of ours. SIGKILL and SIGSTOP refuse, which changes nothing.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    // SAFETY: the set is initialised by `sigemptyset` before it is read.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

/// Makes sure that no capability can come back by an exec. Needs the capability to set capabilities, so it comes before
/// the change to an ordinary user.
pub(crate) fn drop_bounding_set() -> nix::Result<()> {
    for capability in 0..64 {
        // SAFETY: no pointers are passed.
        match checked(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) }.into()) {
            Ok(_) => {}
            // The first number that the kernel does not know.
            Err(nix::errno::Errno::EINVAL) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Drops all capabilities that the process has.
pub(crate) fn drop_capabilities() -> nix::Result<()> {
    const VERSION_3: u32 = 0x2008_0522;
    #[repr(C)]
    struct Header {
        version: u32,
        pid: libc::c_int,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Default)]
    struct Sets {
        effective: u32,
        permitted: u32,
        inheritable: u32,
    }
    // SAFETY: no pointers are passed. A kernel without ambient capabilities has none to clear.
    unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) };
    let header = Header { version: VERSION_3, pid: 0 };
    let none = [Sets::default(); 2];
    // SAFETY: version 3 reads a header and two structures of sets.
    checked(unsafe { libc::syscall(libc::SYS_capset, &raw const header, none.as_ptr()) })?;
    Ok(())
}

/// Ends this process at once, without running anything of the program it was forked from.
pub(crate) fn exit(code: i32) -> ! {
    // SAFETY: no preconditions.
    unsafe { libc::_exit(code) }
}

/// The version of Landlock that the kernel has; 0 is none.
pub(crate) fn landlock_version() -> u32 {
    const VERSION: libc::c_uint = 1;
    let nothing = std::ptr::null::<libc::c_void>();
    // SAFETY: with this flag the call takes no attributes and tells its version.
    let version =
        checked(unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, nothing, 0, VERSION) });
    version.ok().and_then(|version| u32::try_from(version).ok()).unwrap_or(0)
}
