//! Filters of system calls, made of the rules that all executors share.

use std::collections::{BTreeMap, BTreeSet};

use cellblock_driver::calls::{Arguments, CellTraits, Denial, NEWEST, Rule, SystemCall, rules};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Length, SeccompCmpOp as Op, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch, sock_filter,
};

use crate::launcher::wire::Failure;

/// The filters for a cell, in the order in which they are to be installed: one for each error that
/// a call can get.
pub(crate) fn filters(cell: &CellTraits) -> Result<Vec<BpfProgram>, Failure> {
    let answers: BTreeSet<u32> = rules(cell).map(|rule| rule.denial.errno()).collect();
    let filters = answers.into_iter().map(|errno| {
        let rules: Vec<_> = rules(cell).filter(|rule| rule.denial.errno() == errno).collect();
        filter(&rules, errno)
    });
    let mut filters: Vec<BpfProgram> = filters.collect::<Result<_, _>>()?;
    if let Some(first) = filters.first_mut() {
        first.splice(0..0, not_reviewed());
    }
    Ok(filters)
}

fn filter(rules: &[&Rule], errno: u32) -> Result<BpfProgram, Failure> {
    let mut denied: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    // An empty list denies a call whatever its arguments, so these come last and replace others.
    let by_arguments = rules.iter().filter(|rule| rule.arguments != Arguments::Any);
    let any = rules.iter().filter(|rule| rule.arguments == Arguments::Any);
    for (rule, number) in by_arguments.flat_map(|rule| numbers(rule).map(move |n| (rule, n))) {
        for conditions in conditions(rule.arguments) {
            denied.entry(number).or_default().push(denial(conditions)?);
        }
    }
    for number in any.flat_map(|rule| numbers(rule)) {
        denied.insert(number, Vec::new());
    }
    compile(denied, errno)
}

fn numbers(rule: &Rule) -> impl Iterator<Item = i64> {
    rule.calls.iter().filter_map(|name| SystemCall::named(name)?.number())
}

/// One condition: argument, length, comparison, value.
type Condition = (u8, Length, Op, u64);

/// Conditions under which a call is denied: when all of one list hold.
fn conditions(arguments: Arguments) -> Vec<Vec<Condition>> {
    use Length::{Dword, Qword};
    match arguments {
        Arguments::Any => Vec::new(),
        Arguments::NoneOf { argument, values } => {
            vec![values.iter().map(|value| (argument, Dword, Op::Ne, u64::from(*value))).collect()]
        }
        Arguments::OneOf { argument, mask, values } => {
            let operation = Op::MaskedEq(u64::from(mask));
            let with = |value: &u32| vec![(argument, Dword, operation.clone(), u64::from(*value))];
            values.iter().map(with).collect()
        }
        Arguments::AnyBit { argument, bits } => {
            let bits = (0..u64::BITS).map(|bit| 1 << bit).filter(|bit| bits & bit != 0);
            bits.map(|bit| vec![(argument, Qword, Op::MaskedEq(bit), bit)]).collect()
        }
        Arguments::AllBits { argument, bits } => {
            vec![vec![(argument, Qword, Op::MaskedEq(bits), bits)]]
        }
        Arguments::NonZero { argument } => vec![vec![(argument, Qword, Op::Ne, 0)]],
    }
}

fn denial(conditions: Vec<Condition>) -> Result<SeccompRule, Failure> {
    let conditions: Result<_, _> = conditions
        .into_iter()
        .map(|(argument, length, comparison, value)| {
            SeccompCondition::new(argument, length, comparison, value)
        })
        .collect();
    conditions.and_then(SeccompRule::new).map_err(|error| failure(&error))
}

/// A filter that answers the calls in `rules` with an error. A call by another architecture's
/// convention kills.
fn compile(rules: BTreeMap<i64, Vec<SeccompRule>>, errno: u32) -> Result<BpfProgram, Failure> {
    let arch = if cfg!(target_arch = "aarch64") { TargetArch::aarch64 } else { TargetArch::x86_64 };
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(errno), arch);
    filter.and_then(TryInto::try_into).map_err(|error| failure(&error))
}

/// The beginning of a filter for which calls do not exist that nobody has reviewed: those of newer
/// kernels, and the second set of numbers that x86-64 has for the same calls (x32), which a list of
/// numbers would miss. Jumps in a filter are relative, so this can stand before any other.
fn not_reviewed() -> [sock_filter; 3] {
    // Of <linux/bpf_common.h> and <linux/seccomp.h>: load a word of the data; jump if greater or
    // equal; return.
    const LOAD_WORD: u16 = 0x20;
    const JUMP_IF_AT_LEAST: u16 = 0x35;
    const RETURN: u16 = 0x06;
    const NUMBER_AT: u32 = 0;
    const ERROR: u32 = 0x0005_0000;
    let first = NEWEST as u32 + 1;
    [
        sock_filter { code: LOAD_WORD, jt: 0, jf: 0, k: NUMBER_AT },
        sock_filter { code: JUMP_IF_AT_LEAST, jt: 0, jf: 1, k: first },
        sock_filter { code: RETURN, jt: 0, jf: 0, k: ERROR | Denial::Missing.errno() },
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

#[cfg(test)]
#[cfg(target_arch = "x86_64")]
mod tests {
    use super::*;

    /// A cell that sees the host's root, as its user, on an old kernel, without control groups: all
    /// rules are for it.
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

    /// What the kernel does with a call under these filters: the error number, or 0 if it is let
    /// through. A small machine for the classic filter language, as <linux/bpf_common.h> has it.
    fn answer(cell: &CellTraits, number: i64, arguments: &[u64]) -> u32 {
        const X86_64: u32 = 0xc000_003e;
        let mut data = vec![0u8; 64];
        data[..4].copy_from_slice(&(number as u32).to_le_bytes());
        data[4..8].copy_from_slice(&X86_64.to_le_bytes());
        for (at, argument) in arguments.iter().enumerate() {
            data[16 + 8 * at..24 + 8 * at].copy_from_slice(&argument.to_le_bytes());
        }
        let answers = filters(cell).unwrap().into_iter().map(|filter| run(&filter, &data));
        // An error takes precedence over letting through.
        answers.filter(|answer| answer >> 16 == 5).map(|answer| answer & 0xffff).next().unwrap_or(0)
    }

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
        let (eperm, enosys, unsupported) = (1, 38, 95);
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
        // Their user's own files, where no other files of the user can be read.
        let without = CellTraits { readable: false, ..WEAKEST };
        let utimensat = SystemCall::named("utimensat").unwrap().number().unwrap();
        assert_eq!(answer(&without, utimensat, &[3, 0, 0]), 0);
        assert_eq!(answer(&without, utimensat, &[3, 1, 0]), eperm);
    }

    #[test]
    fn what_was_not_reviewed_does_not_exist() {
        const X32: i64 = 0x4000_0000;
        for cell in [WEAKEST, STRONGEST] {
            for number in [NEWEST + 1, NEWEST + 100, X32, X32 | 39, 0x7fff_ffff, -1] {
                assert_eq!(answer(&cell, number, &[]), 38, "{number}");
            }
            assert_eq!(answer(&cell, 39, &[]), 0, "getpid: the control");
        }
    }
}
