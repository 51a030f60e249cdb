//! System calls that a cell may not make.
//!
//! A list of what is denied, with an error that programs can handle: lists of what is allowed break scientific libraries
//! and language runtimes with every new version of the C library. What is on the list is what has let programs out of
//! sandboxes, or what has no use in one: new kernel interfaces with a long record of flaws, other processes' memory,
//! mounts and namespaces, the kernel's settings, sockets.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Length, SeccompCmpOp as Op, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch, sock_filter,
};

use crate::launcher::wire::Failure;

/// Denied whatever the arguments.
const DENIED: &[i64] = &[
    // New interfaces that do much inside the kernel.
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_bpf,
    libc::SYS_userfaultfd,
    libc::SYS_perf_event_open,
    libc::SYS_fanotify_init,
    libc::SYS_lookup_dcookie,
    // Other processes' memory and descriptors.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_process_mrelease,
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    libc::SYS_migrate_pages,
    // Keys are shared with the caller's session.
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    // Mounts, roots, namespaces.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_tree,
    OPEN_TREE_ATTR,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_setns,
    libc::SYS_unshare,
    // Files without their paths.
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    // The machine.
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_syslog,
    libc::SYS_vhangup,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_modify_ldt,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_uselib,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ustat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_sysfs,
];

/// Linux 6.15; the libc crate does not have it yet. The number is the same everywhere.
const OPEN_TREE_ATTR: i64 = 467;

/// Denied where memory is watched instead of counted by the kernel: memory that belongs to no process.
const UNCOUNTED: &[i64] =
    &[libc::SYS_memfd_create, libc::SYS_memfd_secret, libc::SYS_shmget, libc::SYS_msgget];

/// Denied where the namespaces are the host's: what names things there without a path, and so past Landlock.
const SHARED: &[i64] = &[
    libc::SYS_socket,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_shmget,
    libc::SYS_shmat,
    libc::SYS_shmctl,
    libc::SYS_semget,
    libc::SYS_semop,
    libc::SYS_semtimedop,
    libc::SYS_semctl,
    libc::SYS_msgget,
    libc::SYS_msgsnd,
    libc::SYS_msgrcv,
    libc::SYS_msgctl,
    libc::SYS_mq_open,
    libc::SYS_mq_unlink,
    libc::SYS_ioprio_set,
    libc::SYS_move_pages,
];

/// Denied where programs run as the user whose files are all around them: what Landlock has no rule for, by which a program
/// could change these files or follow what happens to them. Files that it has open it may still change.
const OWNERS: &[i64] = &[
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chmod,
    libc::SYS_fchmodat,
    libc::SYS_fchmodat2,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chown,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lchown,
    libc::SYS_fchownat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_utime,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_utimes,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_futimesat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_inotify_init,
    libc::SYS_inotify_init1,
    libc::SYS_fanotify_init,
    // Landlock knows it since its third version only.
    libc::SYS_truncate,
];

/// Denied where the host's processes could be signalled: programs there cannot even signal themselves. `abort` still
/// ends a process, by a fault.
const SIGNALS: &[i64] = &[
    libc::SYS_kill,
    libc::SYS_tkill,
    libc::SYS_tgkill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_pidfd_send_signal,
];

/// What differs between filters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Variant {
    /// Whether internet sockets may be used inside the cell.
    pub internet: bool,
    /// Whether the namespaces are the host's.
    pub shared: bool,
    /// Whether programs run as the user who owns files outside the cell.
    pub owner: bool,
    /// Whether something else keeps signals inside the cell.
    pub signals: bool,
    /// Whether no control group counts memory.
    pub watched: bool,
}

/// The filters for a variant, in the order in which they are to be installed.
pub(crate) fn filters(variant: Variant) -> Result<Vec<BpfProgram>, Failure> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    let mut deny =
        |list: &[i64]| list.iter().for_each(|call| drop(rules.insert(*call, Vec::new())));
    deny(DENIED);
    if variant.watched {
        deny(UNCOUNTED);
    }
    if variant.shared {
        deny(SHARED);
        if variant.owner {
            deny(OWNERS);
        }
        if !variant.signals {
            deny(SIGNALS);
        }
    }
    for (call, conditions) in conditional(variant) {
        // A call that is denied whatever its arguments stays so.
        if rules.get(&call).is_none_or(|rules| !rules.is_empty()) {
            rules.entry(call).or_default().push(rule(conditions)?);
        }
    }
    // A program's library falls back to `clone`, whose flags can be looked at.
    let modern = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    Ok(vec![compile(modern, libc::ENOSYS as u32)?, compile(rules, libc::EPERM as u32)?])
}

/// One condition: argument, length, comparison, value.
type Condition = (u8, Length, Op, u64);

/// Calls that are denied when all of the conditions hold.
fn conditional(variant: Variant) -> Vec<(i64, Vec<Condition>)> {
    use Length::{Dword, Qword};
    let is = |argument, value: u64| (argument, Dword, Op::Eq, value);
    let is_not = |argument, value: u64| (argument, Dword, Op::Ne, value);
    let mut calls = Vec::new();
    for flag in [
        libc::CLONE_NEWNS,
        libc::CLONE_NEWCGROUP,
        libc::CLONE_NEWUTS,
        libc::CLONE_NEWIPC,
        libc::CLONE_NEWUSER,
        libc::CLONE_NEWPID,
        libc::CLONE_NEWNET,
        // CLONE_NEWTIME shares its bit with the exit signal of `clone`; only `clone3` and `unshare` can give it.
    ] {
        let flag = flag as u32 as u64;
        calls.push((libc::SYS_clone, vec![(0, Qword, Op::MaskedEq(flag), flag)]));
    }
    // Typing into the terminal of whoever started us.
    for request in [libc::TIOCSTI, libc::TIOCLINUX] {
        calls.push((libc::SYS_ioctl, vec![is(1, request as u32 as u64)]));
    }
    let families: &[i32] = if variant.internet {
        &[libc::AF_UNIX, libc::AF_INET, libc::AF_INET6]
    } else {
        &[libc::AF_UNIX]
    };
    calls.push((
        libc::SYS_socket,
        families.iter().map(|family| is_not(0, *family as u64)).collect(),
    ));
    calls.push((libc::SYS_socketpair, vec![is_not(0, libc::AF_UNIX as u64)]));
    if variant.shared {
        // A datagram socket of a pair can still send to any unix socket of the host, by its path.
        for kind in [libc::SOCK_DGRAM, libc::SOCK_RAW] {
            calls.push((libc::SYS_socketpair, vec![(1, Dword, Op::MaskedEq(0xf), kind as u64)]));
        }
        // Other processes of the same user: their limits, priority and processors.
        for call in [
            libc::SYS_prlimit64,
            libc::SYS_sched_setaffinity,
            libc::SYS_sched_setscheduler,
            libc::SYS_sched_setparam,
            libc::SYS_sched_setattr,
        ] {
            calls.push((call, vec![is_not(0, 0)]));
        }
        for argument in [0, 1] {
            calls.push((libc::SYS_setpriority, vec![is_not(argument, 0)]));
        }
        if variant.owner {
            // By a path; with none it is a file that the program has open.
            calls.push((libc::SYS_utimensat, vec![(1, Qword, Op::Ne, 0)]));
        }
        // A process that cannot be looked into could hide files from those who watch.
        calls.push((libc::SYS_prctl, vec![is(0, libc::PR_SET_DUMPABLE as u64)]));
        if !variant.signals {
            // The kernel sends a signal of choice to a process of choice when a file is ready.
            for command in [libc::F_SETOWN, F_SETSIG, F_SETOWN_EX] {
                calls.push((libc::SYS_fcntl, vec![is(1, command as u64)]));
            }
            for request in [FIOSETOWN, SIOCSPGRP] {
                calls.push((libc::SYS_ioctl, vec![is(1, request)]));
            }
        }
    }
    calls
}

// Numbers of <asm-generic/fcntl.h> and <asm-generic/sockios.h>.
const F_SETSIG: i32 = 10;
const F_SETOWN_EX: i32 = 15;
const FIOSETOWN: u64 = 0x8901;
const SIOCSPGRP: u64 = 0x8902;

fn rule(conditions: Vec<Condition>) -> Result<SeccompRule, Failure> {
    let conditions: Result<_, _> = conditions
        .into_iter()
        .map(|(argument, length, comparison, value)| {
            SeccompCondition::new(argument, length, comparison, value)
        })
        .collect();
    conditions.and_then(SeccompRule::new).map_err(|error| failure(&error))
}

/// A filter that answers the calls in `rules` with an error. A call by another architecture's convention kills.
fn compile(rules: BTreeMap<i64, Vec<SeccompRule>>, errno: u32) -> Result<BpfProgram, Failure> {
    let arch = if cfg!(target_arch = "aarch64") { TargetArch::aarch64 } else { TargetArch::x86_64 };
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(errno), arch);
    let filter: BpfProgram = filter.and_then(TryInto::try_into).map_err(|error| failure(&error))?;
    let mut program = foreign_numbers();
    program.extend(filter);
    Ok(program)
}

/// x86-64 has a second set of numbers (x32) for the same calls, which a list of numbers would miss: these do not exist.
/// Jumps in a filter are relative, so this can stand before any other.
fn foreign_numbers() -> Vec<sock_filter> {
    if !cfg!(target_arch = "x86_64") {
        return Vec::new();
    }
    // Of <linux/bpf_common.h> and <linux/seccomp.h>: load a word of the data; jump if greater or equal; return.
    const LOAD_WORD: u16 = 0x20;
    const JUMP_IF_AT_LEAST: u16 = 0x35;
    const RETURN: u16 = 0x06;
    const NUMBER_AT: u32 = 0;
    const X32: u32 = 0x4000_0000;
    const ERROR: u32 = 0x0005_0000;
    vec![
        sock_filter { code: LOAD_WORD, jt: 0, jf: 0, k: NUMBER_AT },
        sock_filter { code: JUMP_IF_AT_LEAST, jt: 0, jf: 1, k: X32 },
        sock_filter { code: RETURN, jt: 0, jf: 0, k: ERROR | libc::ENOSYS as u32 },
    ]
}

fn failure(error: &seccompiler::BackendError) -> Failure {
    Failure { step: "compile a system call filter".to_owned(), errno: 0, reason: error.to_string() }
}

/// Installs filters. They stay for all that this process becomes and starts.
pub(crate) fn install(filters: &[BpfProgram]) -> Result<(), Failure> {
    for filter in filters {
        seccompiler::apply_filter(filter).map_err(|error| Failure {
            step: "install a system call filter".to_owned(),
            errno: std::io::Error::last_os_error().raw_os_error().unwrap_or(0),
            reason: error.to_string(),
        })?;
    }
    Ok(())
}
