//! Invariants after any operations: quotas, and copies that are independent.

use std::cell::Cell;

use proptest::{collection, prelude::*, test_runner::TestRunner};

use super::operations::{config, operation};
use crate::oracles::files::{copies_agree, file_system, within_quota};

#[test]
fn a_quota_is_never_exceeded_and_all_of_it_comes_back() {
    let hits = Cell::new((0, 0));
    TestRunner::new(config(2000))
        .run(&collection::vec(operation(), 1..80), |operations| {
            let (disk, files) = within_quota(&operations);
            hits.set((hits.get().0 + disk, hits.get().1 + files));
            Ok(())
        })
        .unwrap();
    let (disk, files) = hits.get();
    assert!(disk > 100 && files > 100, "the quotas were hardly tested: {disk}, {files}");
}

#[test]
fn a_fork_and_a_frozen_copy_continue_like_the_original() {
    let sequences = (collection::vec(operation(), 1..40), collection::vec(operation(), 1..40));
    TestRunner::new(config(500))
        .run(&sequences, |(before, after)| {
            copies_agree(&before, &after);
            Ok(())
        })
        .unwrap();
}

#[test]
fn operations_from_bytes_keep_the_same_invariants() {
    TestRunner::new(config(500))
        .run(&collection::vec(any::<u8>(), 0..400), |bytes| {
            file_system(&bytes);
            Ok(())
        })
        .unwrap();
}
