//! The system call filter of containers, as a profile for the engine.
//!
//! An engine's own profile depends on its age: older ones let programs use `AF_VSOCK`, which no
//! namespace contains, and `io_uring`. Ours is made of the rules that the local executor uses. It
//! lists allowed calls, so a call that nobody has reviewed does not exist.

use std::collections::BTreeMap;

use cellblock_driver::calls::{Arguments, CALLS, CellSet, Denial, RULES, Rule};
use serde_json::{Value, json};

const ALLOW: &str = "SCMP_ACT_ALLOW";
const REFUSE: &str = "SCMP_ACT_ERRNO";

/// Returns the profile, for a security option of the engine.
///
/// Rules of an engine have the form "allow if". A rule that cannot be expressed that way is
/// omitted: the one about typing into terminals, which containers do not have.
pub fn profile() -> Value {
    let rules = || RULES.iter().filter(|rule| rule.cells == CellSet::All);
    let of = |name: &str| rules().filter(|rule| rule.calls.contains(&name)).collect::<Vec<_>>();
    let (mut allowed, mut denied, mut rest) = (Vec::new(), BTreeMap::new(), Vec::new());
    for call in CALLS {
        match of(call.name).as_slice() {
            [] => allowed.push(call.name),
            [rule] if rule.arguments == Arguments::Any => {
                denied.entry(rule.denial.errno()).or_insert_with(Vec::new).push(call.name);
            }
            rules => rest.extend(
                combinations(rules)
                    .iter()
                    .map(|args| json!({"names": [call.name], "action": ALLOW, "args": args})),
            ),
        }
    }
    let mut calls = vec![json!({"names": allowed, "action": ALLOW})];
    calls.extend(
        denied
            .into_iter()
            .map(|(errno, names)| json!({"names": names, "action": REFUSE, "errnoRet": errno})),
    );
    calls.extend(rest);
    json!({
        "defaultAction": REFUSE,
        "defaultErrnoRet": Denial::Missing.errno(),
        "archMap": [
            {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": []},
            {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": []},
        ],
        "syscalls": calls,
    })
}

/// Returns the combinations of conditions with which a call satisfies all of its rules that can be
/// expressed. In each, all conditions must hold. Without such a rule there is one combination,
/// without conditions.
fn combinations(rules: &[&Rule]) -> Vec<Vec<Value>> {
    let mut ways = vec![Vec::new()];
    for conditions in rules.iter().filter_map(|rule| allowing(rule)) {
        let with_each = |way: Vec<Value>| {
            let longer = |one: &Value| way.iter().chain([one]).cloned().collect();
            conditions.iter().map(longer).collect::<Vec<Vec<_>>>()
        };
        ways = ways.into_iter().flat_map(with_each).collect();
    }
    ways
}

/// Returns the conditions of which one must hold for a call to be allowed; `None` if the rule
/// cannot be expressed that way.
fn allowing(rule: &Rule) -> Option<Vec<Value>> {
    let equal =
        |index: u8, value: u64| json!({"index": index, "value": value, "op": "SCMP_CMP_EQ"});
    match rule.arguments {
        Arguments::NoneOf { argument, values } => {
            Some(values.iter().map(|value| equal(argument, u64::from(*value))).collect())
        }
        Arguments::AnyBit { argument, bits } => Some(vec![
            json!({"index": argument, "value": bits, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}),
        ]),
        Arguments::NonZero { argument } => Some(vec![equal(argument, 0)]),
        Arguments::Any | Arguments::OneOf { .. } | Arguments::AllBits { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_has_its_place() {
        let profile = profile();
        let calls = profile["syscalls"].as_array().unwrap();
        let entries = |name: &str| -> Vec<&Value> {
            let named = |entry: &&Value| {
                entry["names"].as_array().unwrap().iter().any(|other| other == name)
            };
            calls.iter().filter(named).collect()
        };
        for call in CALLS {
            assert!(!entries(call.name).is_empty(), "{} is missing", call.name);
        }
        for name in ["io_uring_setup", "mount", "bpf", "ptrace", "setns"] {
            assert_eq!(entries(name)[0]["errnoRet"], 1, "{name}");
        }
        assert_eq!(entries("clone3")[0]["errnoRet"], 38);
        assert_eq!(entries("read")[0]["action"], ALLOW);
        let sockets: Vec<_> = entries("socket")
            .iter()
            .map(|entry| [0, 1].map(|at| entry["args"][at]["value"].as_u64().unwrap()))
            .collect();
        assert_eq!(sockets.len(), 15, "{sockets:?}");
        assert!(sockets.contains(&[10, 17]) && !sockets.contains(&[10, 132]));
        assert!(sockets.iter().all(|[family, _]| [1, 2, 10].contains(family)));
        assert_eq!(entries("mmap")[0]["args"][0]["value"], 0x4_0000);
        assert_eq!(entries("clone")[0]["args"][0]["op"], "SCMP_CMP_MASKED_EQ");
    }
}
