//! The rules: which system calls are denied, in which cells, with which error, and why.
//!
//! `SECURITY.md` shows the same rules as a table, which a test compares with this file.

use super::rule::{Arguments, CellSet, Denial, Rule};

const ANY: Rule = Rule {
    calls: &[],
    cells: CellSet::All,
    arguments: Arguments::Any,
    denial: Denial::NotPermitted,
    why: "",
};

/// All rules.
pub const RULES: &[Rule] = &[
    Rule {
        calls: &[
            "io_uring_setup",
            "io_uring_enter",
            "io_uring_register",
            "bpf",
            "userfaultfd",
            "perf_event_open",
            "fanotify_init",
            "lookup_dcookie",
        ],
        why: "interfaces that do much inside the kernel, with a long record of flaws",
        ..ANY
    },
    Rule {
        calls: &[
            "ptrace",
            "process_vm_readv",
            "process_vm_writev",
            "process_madvise",
            "process_mrelease",
            "kcmp",
            "pidfd_getfd",
            "migrate_pages",
            "move_pages",
        ],
        why: "other processes' memory and descriptors",
        ..ANY
    },
    Rule {
        calls: &["mbind", "set_mempolicy", "set_mempolicy_home_node", "get_mempolicy"],
        why: "where memory lies on large machines: a record of flaws, and the host's concern",
        ..ANY
    },
    Rule {
        calls: &["keyctl", "add_key", "request_key"],
        why: "keys are shared with the caller's session",
        ..ANY
    },
    Rule {
        calls: &[
            "mount",
            "umount2",
            "pivot_root",
            "chroot",
            "fchroot",
            "open_tree",
            "open_tree_attr",
            "move_mount",
            "fsopen",
            "fsconfig",
            "fsmount",
            "fspick",
            "mount_setattr",
            "setns",
            "unshare",
            "statmount",
            "listmount",
            "listns",
        ],
        why: "mounts, roots and namespaces",
        ..ANY
    },
    Rule {
        calls: &["clone"],
        arguments: Arguments::AnyBit { argument: 0, bits: CLONE_NEW },
        why: "processes in new namespaces",
        ..ANY
    },
    Rule {
        calls: &["clone3"],
        denial: Denial::Missing,
        why: "its flags lie in memory, where no filter sees them; libraries fall back to `clone`",
        ..ANY
    },
    Rule {
        calls: &["open_by_handle_at", "name_to_handle_at"],
        why: "files without their paths",
        ..ANY
    },
    Rule {
        calls: &[
            "kexec_load",
            "kexec_file_load",
            "init_module",
            "finit_module",
            "delete_module",
            "reboot",
            "swapon",
            "swapoff",
            "acct",
            "quotactl",
            "quotactl_fd",
            "syslog",
            "vhangup",
            "settimeofday",
            "clock_settime",
            "adjtimex",
            "clock_adjtime",
            "sethostname",
            "setdomainname",
            "iopl",
            "ioperm",
            "modify_ldt",
            "uselib",
            "ustat",
            "sysfs",
        ],
        why: "the machine itself, and calls that nothing needs any more",
        ..ANY
    },
    Rule {
        calls: &["personality"],
        arguments: Arguments::NoneOf { argument: 0, values: PERSONALITIES },
        why: "other systems' conventions",
        ..ANY
    },
    Rule {
        calls: &["ioctl"],
        arguments: Arguments::OneOf { argument: 1, mask: MASK, values: &[TIOCSTI, TIOCLINUX] },
        why: "typing into the terminal of whoever started us (a container has no terminal)",
        ..ANY
    },
    Rule {
        calls: &["socket"],
        arguments: Arguments::NoneOf { argument: 0, values: &[AF_UNIX, AF_INET, AF_INET6] },
        why: "all families of sockets but these: kernel interfaces, virtual machines, raw networks",
        ..ANY
    },
    Rule {
        calls: &["socket"],
        arguments: Arguments::NoneOf { argument: 2, values: PROTOCOLS },
        why: "all protocols but these: the kernel loads code for others when they are first used",
        ..ANY
    },
    Rule {
        calls: &["mmap"],
        arguments: Arguments::AnyBit { argument: 3, bits: MAP_HUGETLB },
        why: "huge pages: the host has few, and no limit on memory counts them",
        ..ANY
    },
    Rule {
        calls: &["memfd_create"],
        arguments: Arguments::AnyBit { argument: 1, bits: MFD_HUGETLB },
        why: "huge pages",
        ..ANY
    },
    Rule {
        calls: &["shmget"],
        arguments: Arguments::AnyBit { argument: 2, bits: SHM_HUGETLB },
        why: "huge pages",
        ..ANY
    },
    Rule {
        calls: &["socketpair"],
        arguments: Arguments::NoneOf { argument: 0, values: &[AF_UNIX] },
        why: "pairs of sockets of any family but one",
        ..ANY
    },
    Rule {
        calls: &["socket"],
        cells: CellSet::WithoutHosts,
        arguments: Arguments::NoneOf { argument: 0, values: &[AF_UNIX] },
        why: "without a granted host there is nothing to connect to",
        ..ANY
    },
    Rule {
        calls: &["memfd_create", "memfd_secret", "shmget", "msgget", "landlock_create_ruleset"],
        cells: CellSet::UncountedMemory,
        why: "memory that belongs to no process, and so is not seen",
        ..ANY
    },
    Rule {
        calls: &["mmap"],
        cells: CellSet::UncountedMemory,
        arguments: Arguments::AllBits { argument: 3, bits: MAP_SHARED_ANONYMOUS },
        why: "shared memory without a file: it is kept, and not seen, after a program gave it back",
        ..ANY
    },
    Rule {
        calls: &["splice", "tee", "vmsplice", "sendfile"],
        cells: CellSet::UncountedMemory,
        denial: Denial::Missing,
        why: "pages that wait in pipes: one byte can hold two megabytes; programs fall back to \
              copies",
        ..ANY
    },
    Rule {
        calls: &["sendmsg", "sendmmsg"],
        cells: CellSet::WatchedDescriptors,
        why: "descriptors on their way between processes hold files and memory that is not seen",
        ..ANY
    },
    Rule {
        calls: &[
            "socket",
            "connect",
            "bind",
            "shmget",
            "shmat",
            "shmctl",
            "semget",
            "semop",
            "semtimedop",
            "semctl",
            "msgget",
            "msgsnd",
            "msgrcv",
            "msgctl",
            "mq_open",
            "mq_unlink",
            "ioprio_set",
        ],
        cells: CellSet::SharedRoot,
        why: "what names things of the host without a path, and so past Landlock",
        ..ANY
    },
    Rule {
        calls: &["socketpair"],
        cells: CellSet::SharedRoot,
        arguments: Arguments::OneOf {
            argument: 1,
            mask: SOCK_TYPE,
            values: &[SOCK_DGRAM, SOCK_RAW],
        },
        why: "a datagram socket of a pair can still send to any unix socket of the host",
        ..ANY
    },
    Rule {
        calls: &[
            "prlimit64",
            "sched_setaffinity",
            "sched_setscheduler",
            "sched_setparam",
            "sched_setattr",
            "setpriority",
        ],
        cells: CellSet::SharedRoot,
        arguments: Arguments::NoneOf { argument: 0, values: &[0] },
        why: "other processes of the same user: their limits, priority and processors",
        ..ANY
    },
    Rule {
        calls: &["setpriority"],
        cells: CellSet::SharedRoot,
        arguments: Arguments::NoneOf { argument: 1, values: &[0] },
        why: "the priority of other processes of the same user",
        ..ANY
    },
    Rule {
        calls: &["prctl"],
        cells: CellSet::SharedRoot,
        arguments: Arguments::OneOf { argument: 0, mask: MASK, values: &[PR_SET_DUMPABLE] },
        why: "a process that cannot be looked into could hide files from those who watch",
        ..ANY
    },
    Rule {
        calls: &["prctl"],
        cells: CellSet::UncountedMemory,
        arguments: Arguments::OneOf { argument: 0, mask: MASK, values: &[PR_SET_DUMPABLE] },
        why: "a process that cannot be looked into could hide sockets and pipes",
        ..ANY
    },
    Rule {
        calls: &["inotify_init", "inotify_init1"],
        cells: CellSet::SharedRoot,
        why: "events of directories that Landlock keeps closed",
        ..ANY
    },
    Rule {
        calls: &["fcntl"],
        cells: CellSet::Local,
        arguments: Arguments::OneOf { argument: 1, mask: MASK, values: &[F_SETLEASE, F_NOTIFY] },
        why: "leases, which hold up whoever opens a file of the user's, and events of directories",
        ..ANY
    },
    Rule {
        calls: &[
            "getxattr",
            "lgetxattr",
            "listxattr",
            "llistxattr",
            "getxattrat",
            "listxattrat",
            "file_getattr",
        ],
        cells: CellSet::SharedRoot,
        denial: Denial::NotSupported,
        why: "attributes of files by a path that Landlock keeps closed",
        ..ANY
    },
    Rule {
        calls: &[
            "setxattr",
            "lsetxattr",
            "fsetxattr",
            "setxattrat",
            "removexattr",
            "lremovexattr",
            "fremovexattr",
            "removexattrat",
            "file_setattr",
        ],
        cells: CellSet::SharedRoot,
        denial: Denial::NotSupported,
        why: "attributes: access lists and flags of the user's files, and room that is not counted",
        ..ANY
    },
    Rule {
        calls: &[
            "chmod",
            "fchmodat",
            "fchmodat2",
            "chown",
            "lchown",
            "fchownat",
            "utime",
            "utimes",
            "futimesat",
            "truncate",
        ],
        cells: CellSet::SharedOwner,
        why: "changing files by a path alone, for which Landlock has no rule",
        ..ANY
    },
    Rule {
        calls: &["utimensat"],
        cells: CellSet::SharedOwner,
        arguments: Arguments::NonZero { argument: 1 },
        why: "times of files by a path; without one it is a file that the program has open",
        ..ANY
    },
    Rule {
        calls: &["fchmod", "fchown", "utimensat"],
        cells: CellSet::ReadableOwner,
        why: "changing files that are open for reading only: their owner may",
        ..ANY
    },
    Rule {
        calls: &["ioctl"],
        cells: CellSet::SharedOwner,
        arguments: Arguments::OneOf {
            argument: 1,
            mask: MASK,
            values: &[
                FS_IOC_SETFLAGS,
                FS_IOC32_SETFLAGS,
                FS_IOC_SETVERSION,
                FS_IOC_FSSETXATTR,
                FS_IOC_SET_ENCRYPTION_POLICY,
                FS_IOC_ENABLE_VERITY,
                EXT4_IOC_SETVERSION,
                EXT4_IOC32_SETVERSION,
            ],
        },
        why: "flags of files that are open for reading only",
        ..ANY
    },
    Rule {
        calls: &["ioctl"],
        cells: CellSet::SharedOwner,
        arguments: Arguments::OneOf {
            argument: 1,
            mask: IOCTL_MAGIC,
            values: &[BTRFS_IOCTL_MAGIC],
        },
        denial: Denial::NotSupported,
        why: "new volumes in directories that are open for reading only; clones of files, too, for \
              which tools fall back to copies",
    },
    Rule {
        calls: &[
            "kill",
            "tkill",
            "tgkill",
            "rt_sigqueueinfo",
            "rt_tgsigqueueinfo",
            "pidfd_send_signal",
        ],
        cells: CellSet::UnscopedSignals,
        why: "signals to the host's processes; `abort` still ends a process, by a fault",
        ..ANY
    },
    Rule {
        calls: &["fcntl"],
        cells: CellSet::UnscopedSignals,
        arguments: Arguments::OneOf {
            argument: 1,
            mask: MASK,
            values: &[F_SETOWN, F_SETSIG, F_SETOWN_EX],
        },
        why: "signals that the kernel sends to a process of choice when a file is ready",
        ..ANY
    },
    Rule {
        calls: &["ioctl"],
        cells: CellSet::UnscopedSignals,
        arguments: Arguments::OneOf { argument: 1, mask: MASK, values: &[FIOSETOWN, SIOCSPGRP] },
        why: "signals that the kernel sends when a socket is ready",
        ..ANY
    },
];

// Constants of <linux/sched.h>; CLONE_NEWTIME shares its bit with the exit signal of `clone`, and
// only `clone3` and `unshare` can give it.
const CLONE_NEW: u64 =
    0x0002_0000 | 0x0200_0000 | 0x0400_0000 | 0x0800_0000 | 0x1000_0000 | 0x2000_0000 | 0x4000_0000;
// <bits/socket.h>.
const AF_UNIX: u32 = 1;
const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;
const SOCK_DGRAM: u32 = 2;
const SOCK_RAW: u32 = 3;
const SOCK_TYPE: u32 = 0xf;
// <asm-generic/ioctls.h>, <asm-generic/sockios.h>, <linux/fs.h>, <linux/fscrypt.h> and
// <linux/fsverity.h>.
const TIOCSTI: u32 = 0x5412;
const TIOCLINUX: u32 = 0x541c;
const FIOSETOWN: u32 = 0x8901;
const SIOCSPGRP: u32 = 0x8902;
const FS_IOC_SETFLAGS: u32 = 0x4008_6602;
const FS_IOC32_SETFLAGS: u32 = 0x4004_6602;
const FS_IOC_SETVERSION: u32 = 0x4008_7602;
const FS_IOC_FSSETXATTR: u32 = 0x401c_5820;
const FS_IOC_SET_ENCRYPTION_POLICY: u32 = 0x800c_6613;
const FS_IOC_ENABLE_VERITY: u32 = 0x4080_6685;
const EXT4_IOC_SETVERSION: u32 = 0x4008_6604;
const EXT4_IOC32_SETVERSION: u32 = 0x4004_6604;
// <linux/btrfs.h>: what all of its requests have in the second byte.
const BTRFS_IOCTL_MAGIC: u32 = 0x9400;
const IOCTL_MAGIC: u32 = 0xff00;
// <asm-generic/fcntl.h> and <linux/fcntl.h>.
const F_SETOWN: u32 = 8;
const F_SETSIG: u32 = 10;
const F_SETOWN_EX: u32 = 15;
const F_SETLEASE: u32 = 1024;
const F_NOTIFY: u32 = 1026;
// <linux/prctl.h>.
const PR_SET_DUMPABLE: u32 = 4;
// <asm-generic/mman.h>.
const MAP_SHARED_ANONYMOUS: u64 = 0x01 | 0x20;
const MAP_HUGETLB: u64 = 0x4_0000;
// <linux/memfd.h> and <linux/shm.h>.
const MFD_HUGETLB: u64 = 0x4;
const SHM_HUGETLB: u64 = 0o4000;
// <linux/in.h>: any, ICMP, TCP, UDP, ICMP of version 6.
const PROTOCOLS: &[u32] = &[0, 1, 6, 17, 58];
// <linux/personality.h>: Linux, Linux on 32 bits, both also with the version number of Linux 2.6
// (UNAME26), and asking. None of them changes what memory is like.
const PERSONALITIES: &[u32] = &[0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];
const MASK: u32 = u32::MAX;
