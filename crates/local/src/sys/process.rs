//! Processes: forking one into new namespaces, and removing what it must not keep.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::{
    errno::Errno,
    sched::CloneFlags,
    sys::signal::Signal,
    unistd::{Gid, Pid, Uid, setfsgid, setfsuid},
};

/// Forks a process in new namespaces that calls `act` and ends with the exit code that it returns.
/// Returns the number of the new process.
///
/// Only for the launcher: it has one thread, so the new process may do anything, as after a fork in
/// C. The thread number that the C library remembers is wrong in the new process; the C library
/// uses it only for signals to itself, which are not sent.
pub fn fork(namespaces: CloneFlags, act: impl FnOnce() -> i32) -> nix::Result<Pid> {
    let flags = libc::c_long::from(namespaces.bits() | libc::SIGCHLD);
    // SAFETY: without a stack and without shared memory this is a fork. There is one thread, so no
    // other thread holds a lock.
    match Errno::result(unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) })? {
        0 => exit(act()),
        pid => Ok(Pid::from_raw(pid as libc::pid_t)),
    }
}

/// Opens a descriptor for a process. It becomes readable when the process has ended.
pub fn open_process(pid: Pid) -> nix::Result<OwnedFd> {
    // SAFETY: no pointers are passed.
    let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) })?;
    // SAFETY: the kernel has just made this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Sends a signal to exactly the process that was opened, even if another process has its number
/// now.
pub fn signal_process(process: BorrowedFd<'_>, signal: Signal) -> nix::Result<()> {
    let (process, signal) = (process.as_raw_fd(), signal as libc::c_int);
    let nothing = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: the signal's information may be absent.
    Errno::result(unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, process, signal, nothing, 0)
    })?;
    Ok(())
}

/// Closes all descriptors from `first` on, except `kept`.
///
/// For a process that has just been forked and does not return to the code that owns the
/// descriptors.
pub fn close_from(first: RawFd, kept: &[BorrowedFd<'_>]) -> nix::Result<()> {
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
pub fn mark_close_on_exec_from(first: RawFd) -> nix::Result<()> {
    close_range(first as libc::c_uint, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC)
}

fn close_range(first: libc::c_uint, last: libc::c_uint, flags: libc::c_uint) -> nix::Result<()> {
    // SAFETY: no pointers are passed. The owners of the descriptors do not run in this process.
    Errno::result(unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) })?;
    Ok(())
}

/// Calls `act` with another user's access to files and to `/proc`.
///
/// Only this thread has that access, and only during the call. A process that may not change its
/// user keeps its own.
pub fn as_user<T>(user: Uid, group: Gid, act: impl FnOnce() -> T) -> T {
    struct Restore(Uid, Gid);
    impl Drop for Restore {
        fn drop(&mut self) {
            setfsuid(self.0);
            setfsgid(self.1);
        }
    }
    let own_group = setfsgid(group);
    let _restore = Restore(setfsuid(user), own_group);
    act()
}

/// Resets each signal to its default action and blocks none: a program must not start with the
/// choices of its parent.
pub fn reset_signals() {
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: the default action runs no code of ours. SIGKILL and SIGSTOP refuse, which
        // changes nothing.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    // SAFETY: the set is initialised by `sigemptyset` before it is read.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

/// Empties the bounding set, so that no exec can bring a capability back.
///
/// This needs the capability to set capabilities, so it comes before the change to an ordinary
/// user.
pub fn drop_bounding_set() -> nix::Result<()> {
    for capability in 0..64 {
        // SAFETY: no pointers are passed.
        match Errno::result(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) }) {
            Ok(_) => {}
            // The first number that the kernel does not know.
            Err(Errno::EINVAL) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Drops all capabilities that the process has.
pub fn drop_capabilities() -> nix::Result<()> {
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
    Errno::result(unsafe { libc::syscall(libc::SYS_capset, &raw const header, none.as_ptr()) })?;
    Ok(())
}

/// Ends this process at once, without running anything of the program it was forked from.
fn exit(code: i32) -> ! {
    // SAFETY: no preconditions.
    unsafe { libc::_exit(code) }
}

/// Returns the version of Landlock that the kernel has; 0 is none.
pub fn landlock_version() -> u32 {
    const VERSION: libc::c_uint = 1;
    let nothing = std::ptr::null::<libc::c_void>();
    // SAFETY: with this flag the call takes no attributes and returns its version.
    let version = Errno::result(unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, nothing, 0, VERSION)
    });
    version.ok().and_then(|version| u32::try_from(version).ok()).unwrap_or(0)
}
