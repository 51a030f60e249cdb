//! The table, the rules and `SECURITY.md` agree with each other and with the kernel's headers.

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
        assert!(SystemCall::named(call).is_some(), "{call} is no system call");
    }
    #[cfg(target_arch = "x86_64")]
    for (name, number) in
        [("clone3", 435), ("file_setattr", 469), ("setxattrat", 463), ("bpf", 321)]
    {
        assert_eq!(SystemCall::named(name).unwrap().number(), Some(number));
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
        let listed = SystemCall::named(name).is_some_and(|call| call.number() == Some(number));
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
    let which = match rule.arguments {
        Arguments::Any => "",
        _ => ", by arguments",
    };
    let answer = match rule.denial {
        Denial::NotPermitted => "EPERM",
        Denial::Missing => "ENOSYS",
        Denial::NotSupported => "EOPNOTSUPP",
    };
    let (calls, cells) = (calls.join(" "), rule.cells.describe());
    format!("| {calls}{which} | {cells} | {answer} | {} |\n", rule.why)
}
