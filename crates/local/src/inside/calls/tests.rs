use nix::errno::Errno;

use super::*;

/// A cell that sees the host's root, as the host's user, on an old kernel, without control groups:
/// all rules apply to it.
const WEAKEST: CellTraits = CellTraits {
    hosts: false,
    counted_memory: false,
    shared_root: true,
    owner: true,
    readable: true,
    scoped_signals: false,
};

const STRONGEST: CellTraits = CellTraits {
    hosts: true,
    counted_memory: true,
    shared_root: false,
    owner: false,
    readable: false,
    scoped_signals: true,
};

/// Returns the error number that the kernel would return for a call under these filters, or 0 if
/// the call passes.
fn answer(cell: &CellTraits, number: i64, arguments: &[u64]) -> u32 {
    const X86_64: u32 = 0xc000_003e;
    let mut data = vec![0u8; 64];
    data[..4].copy_from_slice(&(number as u32).to_le_bytes());
    data[4..8].copy_from_slice(&X86_64.to_le_bytes());
    for (at, argument) in arguments.iter().enumerate() {
        data[16 + 8 * at..24 + 8 * at].copy_from_slice(&argument.to_le_bytes());
    }
    let answers = filters(cell).unwrap().into_iter().map(|filter| run(&filter, &data));
    // An error takes precedence over a pass.
    answers.filter(|answer| answer >> 16 == 5).map(|answer| answer & 0xffff).next().unwrap_or(0)
}

/// Interprets a filter, in the classic filter language of <linux/bpf_common.h>.
fn run(filter: &[sock_filter], data: &[u8]) -> u32 {
    let (mut accumulator, mut at) = (0u32, 0usize);
    loop {
        let step = &filter[at];
        at += 1;
        let jump = |is: bool| usize::from(if is { step.jt } else { step.jf });
        match step.code {
            0x20 => {
                let from = step.k as usize;
                accumulator = u32::from_le_bytes(data[from..from + 4].try_into().unwrap());
            }
            0x05 => at += step.k as usize,
            0x15 => at += jump(accumulator == step.k),
            0x25 => at += jump(accumulator > step.k),
            0x35 => at += jump(accumulator >= step.k),
            0x54 => accumulator &= step.k,
            0x06 => return step.k,
            other => panic!("a step with code {other:#x}"),
        }
    }
}

#[test]
fn a_table_of_calls() {
    let [eperm, enosys, unsupported] =
        [Errno::EPERM, Errno::ENOSYS, Errno::EOPNOTSUPP].map(|errno| errno as u32);
    let fcntl = |command| [0, command, 0];
    for (name, arguments, weakest, strongest) in [
        ("read", &[0, 0, 0][..], 0, 0),
        ("bpf", &[0], eperm, eperm),
        ("clone3", &[0], enosys, enosys),
        ("clone", &[17], 0, 0),
        ("clone", &[0x1000_0000 | 17], eperm, eperm),
        ("clone", &[0x0002_0000], eperm, eperm),
        ("socket", &[1, 1], eperm, 0),
        ("socket", &[2, 1], eperm, 0),
        ("socket", &[40, 1], eperm, eperm),
        // The kernel takes 32 bits of it.
        ("socket", &[0xdead_0000_0028, 1], eperm, eperm),
        ("socketpair", &[1, 1], 0, 0),
        ("socketpair", &[1, 0x80802], eperm, 0),
        ("ioctl", &[0, 0x5412], eperm, eperm),
        ("ioctl", &[0, 0xffff_ffff_0000_5412], eperm, eperm),
        ("ioctl", &[0, 0x5413], 0, 0),
        ("ioctl", &[0, 0x4008_6602], eperm, 0),
        ("personality", &[0xffff_ffff], 0, 0),
        ("personality", &[0x0040_0000], eperm, eperm),
        ("mmap", &[0, 4096, 3, 0x22], 0, 0),
        ("mmap", &[0, 4096, 3, 0x21], eperm, 0),
        ("mmap", &[0, 4096, 3, 0x23], eperm, 0),
        ("mmap", &[0, 4096, 3, 0x01], 0, 0),
        ("sendmsg", &[0], eperm, 0),
        ("setxattrat", &[0], unsupported, 0),
        ("getxattr", &[0], unsupported, 0),
        ("chmod", &[0], eperm, 0),
        ("fchmod", &[0], eperm, 0),
        ("utimensat", &[3, 0, 0], eperm, 0),
        ("prctl", &[4, 0], eperm, 0),
        ("prctl", &[38, 1], 0, 0),
        ("fcntl", &fcntl(1024), eperm, eperm),
        ("fcntl", &fcntl(10), eperm, 0),
        ("fcntl", &fcntl(3), 0, 0),
        ("kill", &[1, 9], eperm, 0),
        ("setpriority", &[0, 7], eperm, 0),
        ("setpriority", &[2, 0], eperm, 0),
        ("setpriority", &[0, 0], 0, 0),
    ] {
        let number = SystemCall::named(name).unwrap().number().unwrap();
        let seen = (answer(&WEAKEST, number, arguments), answer(&STRONGEST, number, arguments));
        assert_eq!(seen, (weakest, strongest), "{name} {arguments:x?}");
    }
    // A program may change its own files where it can read no other files of its user.
    let without = CellTraits { readable: false, ..WEAKEST };
    let utimensat = SystemCall::named("utimensat").unwrap().number().unwrap();
    assert_eq!(answer(&without, utimensat, &[3, 0, 0]), 0);
    assert_eq!(answer(&without, utimensat, &[3, 1, 0]), eperm);
}

#[test]
fn calls_that_nobody_reviewed_do_not_exist() {
    const X32: i64 = 0x4000_0000;
    for cell in [WEAKEST, STRONGEST] {
        for number in [NEWEST + 1, NEWEST + 100, X32, X32 | 39, 0x7fff_ffff, -1] {
            assert_eq!(answer(&cell, number, &[]), Errno::ENOSYS as u32, "{number}");
        }
        assert_eq!(answer(&cell, 39, &[]), 0, "getpid: the control");
    }
}
