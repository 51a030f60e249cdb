//! System call filters, compiled from the rules that all executors share.

use std::collections::{BTreeMap, BTreeSet};

use cellblock_driver::calls::{Arguments, CellTraits, Denial, NEWEST, Rule, SystemCall, rules};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Length, SeccompCmpOp as Op, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch, sock_filter,
};

use crate::failure::Failure;

/// Returns the filters for a cell, in the order of their installation: one for each error that a
/// denied call can return.
pub fn filters(cell: &CellTraits) -> Result<Vec<BpfProgram>, Failure> {
    let errnos: BTreeSet<u32> = rules(cell).map(|rule| rule.denial.errno()).collect();
    let filters = errnos.into_iter().map(|errno| {
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
    // An empty list denies a call whatever its arguments, so such rules come last and replace
    // others.
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

/// A condition: argument, length, comparison, value.
type Condition = (u8, Length, Op, u64);

/// Returns the conditions of a rule. A call is denied if all conditions of one list hold.
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

/// Compiles a filter that denies the calls in `rules` with an error. A call by the convention of
/// another architecture kills the process.
fn compile(rules: BTreeMap<i64, Vec<SeccompRule>>, errno: u32) -> Result<BpfProgram, Failure> {
    let arch = if cfg!(target_arch = "aarch64") { TargetArch::aarch64 } else { TargetArch::x86_64 };
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(errno), arch);
    filter.and_then(TryInto::try_into).map_err(|error| failure(&error))
}

/// Returns instructions under which calls that nobody has reviewed do not exist: the calls of newer
/// kernels, and the second set of numbers that x86-64 has for the same calls (x32), which a list of
/// numbers would miss. Jumps in a filter are relative, so these can precede any filter.
fn not_reviewed() -> [sock_filter; 3] {
    // From <linux/bpf_common.h> and <linux/seccomp.h>: load a word of the data; jump if greater or
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
    Failure::new("compile a system call filter", error)
}

/// Installs filters. They stay in force for every program that this process becomes or starts.
pub fn install(filters: &[BpfProgram]) -> Result<(), Failure> {
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
mod tests;
