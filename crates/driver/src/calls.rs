//! The system calls that programs in cells may not make.
//!
//! One list for all executors whose programs speak to the host's kernel: the local executor makes
//! filters of it, the Docker executor a profile for the engine, and `SECURITY.md` its table.
//!
//! What is listed fails with an error that programs can handle; everything else that was reviewed
//! is allowed, because lists of what is allowed break scientific libraries and language runtimes
//! with every new version of the C library. What was *not* reviewed does not exist: see
//! [`NEWEST`].

mod table;

pub use table::{CALLS, NEWEST};

/// A system call and its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// Its name, as the kernel's tables have it.
    pub name: &'static str,
    /// Its number on x86-64; `None` where it does not exist.
    pub x86_64: Option<i64>,
    /// Its number on 64-bit ARM; `None` where it does not exist.
    pub aarch64: Option<i64>,
}

impl Call {
    /// The call of a name.
    pub fn named(name: &str) -> Option<&'static Call> {
        CALLS.iter().find(|call| call.name == name)
    }

    /// Its number on the machine that this program was built for.
    pub fn number(&self) -> Option<i64> {
        if cfg!(target_arch = "aarch64") { self.aarch64 } else { self.x86_64 }
    }
}

/// Calls that are denied together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Their names.
    pub calls: &'static [&'static str],
    /// The cells in which they are denied.
    pub cells: Cells,
    /// Which of these calls are denied.
    pub which: Which,
    /// The error that a denied call gets.
    pub answer: Answer,
    /// Why, for a person.
    pub why: &'static str,
}

/// The cells that a rule is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cells {
    /// All of them.
    All,
    /// Those of the local executor.
    Local,
    /// Those without granted hosts.
    WithoutHosts,
    /// Those whose memory is watched because no control group counts it.
    UncountedMemory,
    /// Those in which open files and sockets are counted by looking at descriptors: their root is
    /// the host's, or their memory is watched and no host is granted.
    WatchedDescriptors,
    /// Those that see the host's root (level `landlock`).
    SharedRoot,
    /// Of those, the ones whose programs run as the user who owns files around them.
    SharedOwner,
    /// Of those, the ones that may read files of this user, such as a virtual environment.
    ReadableOwner,
    /// Those that see the host's root, under a Landlock that does not keep signals inside.
    UnscopedSignals,
}

/// Which calls of a rule are denied. Arguments count from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// All, whatever their arguments.
    Any,
    /// Those whose argument is none of the values.
    Except {
        /// The argument, of which 32 bits count.
        argument: u8,
        /// What it may be.
        values: &'static [u32],
    },
    /// Those whose argument is one of the values.
    With {
        /// The argument.
        argument: u8,
        /// The bits of it that are compared.
        mask: u32,
        /// What it may not be.
        values: &'static [u32],
    },
    /// Those whose argument has one of these bits.
    WithBits {
        /// The argument.
        argument: u8,
        /// Each of them is denied.
        bits: u64,
    },
    /// Those whose argument has all of these bits.
    WithAllBits {
        /// The argument.
        argument: u8,
        /// Only all of them together are denied.
        bits: u64,
    },
    /// Those whose argument is not zero.
    NotZero {
        /// The argument.
        argument: u8,
    },
}

/// The error of a denied call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// `EPERM`: not permitted.
    NotPermitted,
    /// `ENOSYS`: there is no such call, so that libraries take an older one.
    Missing,
    /// `EOPNOTSUPP`: the file system has no such thing, which tools that copy files take as no
    /// failure.
    NotSupported,
}

impl Answer {
    /// The error number, the same on every machine that we run on.
    pub fn errno(self) -> u32 {
        match self {
            Answer::NotPermitted => 1,
            Answer::Missing => 38,
            Answer::NotSupported => 95,
        }
    }
}

/// What a particular cell is like, as far as rules depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Surroundings {
    /// Whether hosts are granted, so that internet sockets may be used inside the cell.
    pub hosts: bool,
    /// Whether a control group counts memory.
    pub counted_memory: bool,
    /// Whether the cell sees the host's root.
    pub shared_root: bool,
    /// Whether programs run as the user who owns files outside of the cell.
    pub owner: bool,
    /// Whether files of this user are among those that programs may read.
    pub readable: bool,
    /// Whether something else keeps signals inside the cell.
    pub scoped_signals: bool,
}

impl Cells {
    /// Whether a cell in these surroundings is one of them.
    pub fn include(self, cell: &Surroundings) -> bool {
        match self {
            Cells::All | Cells::Local => true,
            Cells::WithoutHosts => !cell.hosts,
            Cells::UncountedMemory => !cell.counted_memory,
            Cells::WatchedDescriptors => cell.shared_root || (!cell.counted_memory && !cell.hosts),
            Cells::SharedRoot => cell.shared_root,
            Cells::SharedOwner => cell.shared_root && cell.owner,
            Cells::ReadableOwner => cell.shared_root && cell.owner && cell.readable,
            Cells::UnscopedSignals => cell.shared_root && !cell.scoped_signals,
        }
    }

    /// A phrase for a person.
    pub fn describe(self) -> &'static str {
        match self {
            Cells::All => "all, containers too",
            Cells::Local => "local",
            Cells::WithoutHosts => "local, without granted hosts",
            Cells::UncountedMemory => "local, memory is watched",
            Cells::WatchedDescriptors => "`landlock`, or memory is watched and no host is granted",
            Cells::SharedRoot => "`landlock`",
            Cells::SharedOwner => "`landlock`, ordinary user",
            Cells::ReadableOwner => "`landlock`, ordinary user whose files can be read",
            Cells::UnscopedSignals => "`landlock`, before version 6 of Landlock",
        }
    }
}

const ANY: Rule = Rule {
    calls: &[],
    cells: Cells::All,
    which: Which::Any,
    answer: Answer::NotPermitted,
    why: "",
};

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
        which: Which::WithBits { argument: 0, bits: CLONE_NEW },
        why: "processes in new namespaces",
        ..ANY
    },
    Rule {
        calls: &["clone3"],
        answer: Answer::Missing,
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
        which: Which::Except { argument: 0, values: PERSONALITIES },
        why: "other systems' conventions",
        ..ANY
    },
    Rule {
        calls: &["ioctl"],
        which: Which::With { argument: 1, mask: MASK, values: &[TIOCSTI, TIOCLINUX] },
        why: "typing into the terminal of whoever started us (a container has no terminal)",
        ..ANY
    },
    Rule {
        calls: &["socket"],
        which: Which::Except { argument: 0, values: &[AF_UNIX, AF_INET, AF_INET6] },
        why: "all families of sockets but these: kernel interfaces, virtual machines, raw networks",
        ..ANY
    },
    Rule {
        calls: &["socket"],
        which: Which::Except { argument: 2, values: PROTOCOLS },
        why: "all protocols but these: the kernel loads code for others when they are first used",
        ..ANY
    },
    Rule {
        calls: &["mmap"],
        which: Which::WithBits { argument: 3, bits: MAP_HUGETLB },
        why: "huge pages: the host has few, and no limit on memory counts them",
        ..ANY
    },
    Rule {
        calls: &["memfd_create"],
        which: Which::WithBits { argument: 1, bits: MFD_HUGETLB },
        why: "huge pages",
        ..ANY
    },
    Rule {
        calls: &["shmget"],
        which: Which::WithBits { argument: 2, bits: SHM_HUGETLB },
        why: "huge pages",
        ..ANY
    },
    Rule {
        calls: &["socketpair"],
        which: Which::Except { argument: 0, values: &[AF_UNIX] },
        why: "pairs of sockets of any family but one",
        ..ANY
    },
    Rule {
        calls: &["socket"],
        cells: Cells::WithoutHosts,
        which: Which::Except { argument: 0, values: &[AF_UNIX] },
        why: "without a granted host there is nothing to connect to",
        ..ANY
    },
    Rule {
        calls: &["memfd_create", "memfd_secret", "shmget", "msgget", "landlock_create_ruleset"],
        cells: Cells::UncountedMemory,
        why: "memory that belongs to no process, and so is not seen",
        ..ANY
    },
    Rule {
        calls: &["mmap"],
        cells: Cells::UncountedMemory,
        which: Which::WithAllBits { argument: 3, bits: MAP_SHARED_ANONYMOUS },
        why: "shared memory without a file: it is kept, and not seen, after a program gave it back",
        ..ANY
    },
    Rule {
        calls: &["splice", "tee", "vmsplice", "sendfile"],
        cells: Cells::UncountedMemory,
        answer: Answer::Missing,
        why: "pages that wait in pipes: one byte can hold two megabytes; programs fall back to \
              copies",
        ..ANY
    },
    Rule {
        calls: &["sendmsg", "sendmmsg"],
        cells: Cells::WatchedDescriptors,
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
        cells: Cells::SharedRoot,
        why: "what names things of the host without a path, and so past Landlock",
        ..ANY
    },
    Rule {
        calls: &["socketpair"],
        cells: Cells::SharedRoot,
        which: Which::With { argument: 1, mask: SOCK_TYPE, values: &[SOCK_DGRAM, SOCK_RAW] },
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
        cells: Cells::SharedRoot,
        which: Which::Except { argument: 0, values: &[0] },
        why: "other processes of the same user: their limits, priority and processors",
        ..ANY
    },
    Rule {
        calls: &["setpriority"],
        cells: Cells::SharedRoot,
        which: Which::Except { argument: 1, values: &[0] },
        why: "the priority of other processes of the same user",
        ..ANY
    },
    Rule {
        calls: &["prctl"],
        cells: Cells::SharedRoot,
        which: Which::With { argument: 0, mask: MASK, values: &[PR_SET_DUMPABLE] },
        why: "a process that cannot be looked into could hide files from those who watch",
        ..ANY
    },
    Rule {
        calls: &["prctl"],
        cells: Cells::UncountedMemory,
        which: Which::With { argument: 0, mask: MASK, values: &[PR_SET_DUMPABLE] },
        why: "a process that cannot be looked into could hide sockets and pipes",
        ..ANY
    },
    Rule {
        calls: &["inotify_init", "inotify_init1"],
        cells: Cells::SharedRoot,
        why: "events of directories that Landlock keeps closed",
        ..ANY
    },
    Rule {
        calls: &["fcntl"],
        cells: Cells::Local,
        which: Which::With { argument: 1, mask: MASK, values: &[F_SETLEASE, F_NOTIFY] },
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
        cells: Cells::SharedRoot,
        answer: Answer::NotSupported,
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
        cells: Cells::SharedRoot,
        answer: Answer::NotSupported,
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
        cells: Cells::SharedOwner,
        why: "changing files by a path alone, for which Landlock has no rule",
        ..ANY
    },
    Rule {
        calls: &["utimensat"],
        cells: Cells::SharedOwner,
        which: Which::NotZero { argument: 1 },
        why: "times of files by a path; without one it is a file that the program has open",
        ..ANY
    },
    Rule {
        calls: &["fchmod", "fchown", "utimensat"],
        cells: Cells::ReadableOwner,
        why: "changing files that are open for reading only: their owner may",
        ..ANY
    },
    Rule {
        calls: &["ioctl"],
        cells: Cells::SharedOwner,
        which: Which::With {
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
        cells: Cells::SharedOwner,
        which: Which::With { argument: 1, mask: IOCTL_MAGIC, values: &[BTRFS_IOCTL_MAGIC] },
        answer: Answer::NotSupported,
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
        cells: Cells::UnscopedSignals,
        why: "signals to the host's processes; `abort` still ends a process, by a fault",
        ..ANY
    },
    Rule {
        calls: &["fcntl"],
        cells: Cells::UnscopedSignals,
        which: Which::With { argument: 1, mask: MASK, values: &[F_SETOWN, F_SETSIG, F_SETOWN_EX] },
        why: "signals that the kernel sends to a process of choice when a file is ready",
        ..ANY
    },
    Rule {
        calls: &["ioctl"],
        cells: Cells::UnscopedSignals,
        which: Which::With { argument: 1, mask: MASK, values: &[FIOSETOWN, SIOCSPGRP] },
        why: "signals that the kernel sends when a socket is ready",
        ..ANY
    },
];

/// The rules for a cell in these surroundings.
pub fn rules(cell: &Surroundings) -> impl Iterator<Item = &'static Rule> {
    RULES.iter().filter(move |rule| rule.cells.include(cell))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs};

    use super::*;

    #[test]
    fn names_and_numbers_are_sound() {
        let names: BTreeSet<_> = CALLS.iter().map(|call| call.name).collect();
        assert_eq!(names.len(), CALLS.len(), "each call is listed once");
        for numbers in [
            CALLS.iter().filter_map(|call| call.x86_64).collect::<Vec<_>>(),
            CALLS.iter().filter_map(|call| call.aarch64).collect::<Vec<_>>(),
        ] {
            let once: BTreeSet<_> = numbers.iter().copied().collect();
            assert_eq!(once.len(), numbers.len(), "each number is listed once");
            assert_eq!(once.last(), Some(&NEWEST));
        }
        for call in RULES.iter().flat_map(|rule| rule.calls) {
            assert!(Call::named(call).is_some(), "{call} is no system call");
        }
        #[cfg(target_arch = "x86_64")]
        for (name, number) in
            [("clone3", 435), ("file_setattr", 469), ("setxattrat", 463), ("bpf", 321)]
        {
            assert_eq!(Call::named(name).unwrap().number(), Some(number));
        }
    }

    /// The kernel's headers on this machine list no call that the table lacks. If this fails, look
    /// at what the new calls do, give them a rule if they need one, and raise [`NEWEST`].
    #[test]
    fn the_kernels_headers_know_no_other_call() {
        let text = [
            "/usr/include/x86_64-linux-gnu/asm/unistd_64.h",
            "/usr/include/aarch64-linux-gnu/asm/unistd_64.h",
            "/usr/include/asm/unistd_64.h",
            "/usr/include/asm-generic/unistd.h",
        ]
        .iter()
        .find_map(|path| fs::read_to_string(path).ok());
        let Some(text) = text else {
            let required = std::env::var("CELLBLOCK_REQUIRE_HEADERS").is_ok_and(|it| it == "1");
            assert!(!required, "no kernel headers, and CELLBLOCK_REQUIRE_HEADERS is 1");
            println!("skipped: the kernel's headers are not installed (linux-libc-dev)");
            return;
        };
        let mut known = 0;
        for (name, number) in text.lines().filter_map(defined) {
            let listed = Call::named(name).is_some_and(|call| call.number() == Some(number));
            assert!(listed, "{name} ({number}) was not reviewed");
            known += 1;
        }
        assert!(known > 250, "only {known} calls were found in the headers");
    }

    /// A line such as `#define __NR_read 0`.
    fn defined(line: &str) -> Option<(&str, i64)> {
        let mut words = line.strip_prefix("#define __NR")?.split_whitespace();
        let name = words.next()?.trim_start_matches("3264").strip_prefix('_')?;
        let number = words.next()?.parse().ok()?;
        // 32-bit machines' own, and the count of calls.
        let (is_call, is_arch) = (name != "syscalls", name != "arch_specific_syscall");
        (is_call && is_arch).then_some((name, number))
    }

    /// `SECURITY.md` shows these very rules.
    #[test]
    fn the_document_has_every_rule() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../SECURITY.md");
        let document = fs::read_to_string(path).unwrap();
        let rows: String = RULES.iter().map(row).collect();
        assert!(document.contains(&rows), "put these rows into SECURITY.md:\n{rows}");
        assert!(document.contains(&format!("above {NEWEST}")), "the newest number is {NEWEST}");
    }

    fn row(rule: &Rule) -> String {
        let calls: Vec<_> = rule.calls.iter().map(|call| format!("`{call}`")).collect();
        let which = match rule.which {
            Which::Any => "",
            _ => ", by arguments",
        };
        let answer = match rule.answer {
            Answer::NotPermitted => "EPERM",
            Answer::Missing => "ENOSYS",
            Answer::NotSupported => "EOPNOTSUPP",
        };
        let (calls, cells) = (calls.join(" "), rule.cells.describe());
        format!("| {calls}{which} | {cells} | {answer} | {} |\n", rule.why)
    }
}
