//! Kinds of messages between a driver and its host. `driver/messages.py` has the same table, and a
//! test below compares the two.
//!
//! | to the driver | fields |
//! |---|---|
//! | run | number, language, file name, name in tracebacks, code, standard input |
//! | write a file | path, content |
//! | stop | number of the block |
//! | set environment variables | name, value, name, value … |
//! | use packages | directory of modules, directory of programs |
//! | answer of the host | number of the question, answer |
//! | data, passed, closed: connections | name, then data, number of bytes passed on, nothing |
//!
//! | from the driver | fields |
//! |---|---|
//! | program | the compiled program, for the next driver |
//! | hello | Python's version, languages … |
//! | standard output, standard error | data |
//! | artifact, its content | path; data |
//! | refused file | path, reason |
//! | done | error number or nothing, `files` if there were too many |
//! | ended: a block | see [`Ended`](crate::wire::Ended) |
//! | question to the host | number of the block, of the question, question |
//! | connect | name, number of the relay |
//! | data, passed, closed: connections | as above |
//! | failed: the driver ends | the reason, `memory` if there was too little |
//!
//! Questions and answers are those of [`cellblock_exec::python::HostCalls`].

macro_rules! kinds {
    ($($name:ident = $letter:literal;)+) => {
        $(pub(crate) const $name: u8 = $letter;)+

        #[cfg(test)]
        const ALL: &[(&str, u8)] = &[$((stringify!($name), $name)),+];
    };
}

kinds! {
    // To the driver.
    RUN = b'r';
    WRITE = b'w';
    STOP = b'k';
    SET_ENVIRONMENT = b's';
    USE_PACKAGES = b'u';
    ANSWER = b'n';
    // From the driver.
    PROGRAM = b'p';
    HELLO = b'h';
    STDOUT = b'o';
    STDERR = b'e';
    ARTIFACT = b'a';
    CONTENT = b'b';
    REFUSED = b'f';
    DONE = b'y';
    ENDED = b'd';
    CONNECT = b'c';
    QUESTION = b'q';
    FAILED = b'l';
    // In both directions.
    DATA = b'x';
    PASSED = b'v';
    CLOSED = b'z';
}

/// Stands before a driver's program that is compiled. `boot.py` has the same.
pub(crate) const COMPILED: u8 = b'c';
/// Stands before a driver's program that is a text.
pub(crate) const TEXT: u8 = b't';

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const MESSAGES: &str = include_str!("driver/messages.py");
    const BOOT: &str = include_str!("boot.py");

    /// The constants that a Python text defines as one byte.
    fn constants(text: &str) -> BTreeMap<&str, u8> {
        text.lines()
            .filter_map(|line| {
                let (name, value) = line.strip_prefix('_')?.split_once(" = b\"")?;
                let [letter] = value.strip_suffix('"')?.as_bytes() else { return None };
                Some((name, *letter))
            })
            .collect()
    }

    #[test]
    fn the_driver_has_the_same_kinds() {
        let (with_the_host, with_the_worker) =
            MESSAGES.split_once("# Only between the worker and the driver").unwrap();
        let ours: BTreeMap<&str, u8> = ALL.iter().copied().collect();
        assert_eq!(constants(with_the_host), ours);
        // The control: a constant is seen, and its letter is no other's.
        let theirs = constants(with_the_worker);
        assert_eq!(theirs.keys().copied().collect::<Vec<_>>(), ["BEGUN"]);
        assert!(!ours.values().any(|letter| *letter == theirs["BEGUN"]));
    }

    #[test]
    fn every_kind_has_a_letter_of_its_own() {
        let letters: BTreeMap<u8, &str> =
            ALL.iter().map(|(name, letter)| (*letter, *name)).collect();
        assert_eq!(letters.len(), ALL.len());
    }

    #[test]
    fn the_boot_program_knows_what_stands_before_a_program() {
        assert_eq!(constants(BOOT), BTreeMap::from([("COMPILED", COMPILED)]));
    }

    /// Letters stand in the tables only.
    #[test]
    fn no_kind_is_written_as_a_letter() {
        let sources = [
            include_str!("artifacts.rs"),
            include_str!("connections.rs"),
            include_str!("driver.rs"),
            include_str!("program.rs"),
            include_str!("running.rs"),
            include_str!("session.rs"),
            include_str!("wire.rs"),
            include_str!("driver/cell.py"),
            include_str!("driver/blocks.py"),
            include_str!("driver/worker.py"),
            include_str!("driver/files.py"),
            include_str!("driver/relays.py"),
        ];
        for source in sources {
            for quote in ['\'', '"'] {
                let bare = source.match_indices(&format!("b{quote}")).find(|(at, _)| {
                    source[at + 3..].starts_with(quote)
                        && source.as_bytes()[at + 2].is_ascii_lowercase()
                });
                assert!(bare.is_none(), "{:?}", &source[bare.unwrap().0..][..20]);
            }
        }
    }
}
