//! Both sides have the same tables, and nothing else spells out a kind.

use std::collections::BTreeMap;

use super::*;

const MESSAGES: &str = include_str!("../driver/messages.py");
const BOOT: &str = include_str!("../boot.py");
const WORKER_ONLY: &str = "Only between the worker and the driver";

/// Returns the constants that a Python text defines as bytes, with the comment that heads each
/// group of them.
fn constants(text: &str) -> Vec<(&str, &str, &[u8])> {
    let (mut heading, mut found) = ("", Vec::new());
    for line in text.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            heading = comment.trim_end_matches(':');
        }
        let constant = line.strip_prefix('_').and_then(|line| line.split_once(" = b\""));
        if let Some((name, value)) = constant
            && let Some(value) = value.strip_suffix('"')
        {
            found.push((heading, name, value.as_bytes()));
        }
    }
    found
}

/// Returns the name that the Python side has for a kind: `SET_ENVIRONMENT` for `SetEnvironment`.
fn python_name(kind: &str) -> String {
    let mut name = String::new();
    for (at, c) in kind.chars().enumerate() {
        if at > 0 && c.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(c.to_ascii_uppercase());
    }
    name
}

#[test]
fn both_sides_have_the_same_kinds() {
    let ours: Vec<_> = KINDS
        .iter()
        .map(|(direction, kind, byte)| (*direction, python_name(kind), vec![*byte]))
        .collect();
    let theirs: Vec<_> = constants(MESSAGES)
        .into_iter()
        .filter(|(heading, ..)| ours.iter().any(|(direction, ..)| direction == heading))
        .map(|(heading, name, value)| (heading, name.to_owned(), value.to_vec()))
        .collect();
    assert_eq!(theirs, ours);
}

#[test]
fn kinds_of_the_worker_are_no_others() {
    let constants = constants(MESSAGES);
    let workers: Vec<_> = constants.iter().filter(|(it, ..)| it.starts_with(WORKER_ONLY)).collect();
    let [(_, "BEGUN", [byte])] = workers.as_slice() else { panic!("{workers:?}") };
    assert_eq!(MessageKind::from(*byte), MessageKind::Unknown(*byte));
}

#[test]
fn both_sides_have_the_same_words_in_fields() {
    let ours = [("CPU", CPU), ("MEMORY", MEMORY), ("DISK", DISK), ("FILES", FILES)];
    let ours: BTreeMap<_, _> = ours.into_iter().map(|(name, it)| (name, it.as_bytes())).collect();
    let theirs: BTreeMap<_, _> = constants(MESSAGES)
        .into_iter()
        .filter(|(heading, ..)| *heading == "Words in fields")
        .map(|(_, name, value)| (name, value))
        .collect();
    assert_eq!(theirs, ours);
}

#[test]
fn a_kind_is_its_byte_and_no_other_has_it() {
    for byte in 0..=u8::MAX {
        assert_eq!(MessageKind::from(byte).byte(), byte);
    }
    let bytes: BTreeMap<u8, &str> = KINDS.iter().map(|(_, name, byte)| (*byte, *name)).collect();
    assert_eq!(bytes.len(), KINDS.len());
}

#[test]
fn the_boot_program_knows_the_mark_of_a_compiled_program() {
    let found: Vec<_> = constants(BOOT).into_iter().map(|(_, name, value)| (name, value)).collect();
    assert_eq!(found, [("COMPILED", &[COMPILED][..])]);
}

/// Kinds are spelled out in the tables only.
#[test]
fn no_kind_is_written_as_a_letter() {
    let sources = [
        include_str!("../artifacts.rs"),
        include_str!("../connections.rs"),
        include_str!("../driver.rs"),
        include_str!("../link.rs"),
        include_str!("../loss.rs"),
        include_str!("../oracles.rs"),
        include_str!("../oracles/tests.rs"),
        include_str!("../program.rs"),
        include_str!("../running.rs"),
        include_str!("../session.rs"),
        include_str!("../verdict.rs"),
        include_str!("../wire.rs"),
        include_str!("../driver/blocks.py"),
        include_str!("../driver/calls.py"),
        include_str!("../driver/cell.py"),
        include_str!("../driver/files.py"),
        include_str!("../driver/relays.py"),
        include_str!("../driver/worker.py"),
    ];
    for source in sources {
        assert_eq!(bare_letter(source), None);
    }
    // The control.
    assert_eq!(bare_letter("    if kind == b\"r\":"), Some("b\"r\""));
    assert_eq!(bare_letter("wire.post(b'r', &[])"), Some("b'r'"));
}

/// Returns the first literal of one lower-case byte.
fn bare_letter(source: &str) -> Option<&str> {
    ['\'', '"'].into_iter().find_map(|quote| {
        source.match_indices(&format!("b{quote}")).find_map(|(at, _)| {
            let literal = source.get(at..at + 4)?;
            let is_letter = literal.as_bytes()[2].is_ascii_lowercase();
            (is_letter && literal.ends_with(quote)).then_some(literal)
        })
    })
}
