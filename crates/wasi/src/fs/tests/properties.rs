//! What holds after any operations: quotas, and copies that go their own ways.

use std::cell::Cell;

use cellblock_exec::Limit;
use proptest::{collection, test_runner::TestRunner};

use super::{
    guest::Guest,
    operations::{Given, Operation, Ours, SLOTS, config, operation},
};
use crate::fs::{Errno, Fs, Quota, descriptors::ROOT};

fn run(ours: &mut Ours, operations: &[Operation]) -> Vec<Result<Given, Errno>> {
    operations.iter().map(|operation| ours.run(operation)).collect()
}

/// Removes all files and directories, the deepest first.
fn remove_all(ours: &mut Ours) {
    for (path, content) in ours.tree().iter().rev() {
        if content == "directory" {
            ours.guest.rmdir(ROOT, path).unwrap();
        } else {
            ours.guest.unlink(ROOT, path).unwrap();
        }
    }
}

#[test]
fn a_quota_is_never_exceeded_and_all_of_it_comes_back() {
    let hits = Cell::new((0, 0));
    TestRunner::new(config(2000))
        .run(&collection::vec(operation(), 1..80), |operations| {
            let mut fs = Fs::new();
            fs.set_quota(Quota { bytes: 40, files: 4 });
            let mut ours = Ours::new(Guest::new(fs));
            for operation in &operations {
                let nospc = ours.run(operation) == Err(Errno::Nospc);
                let fs = ours.guest.fs();
                fs.audit();
                let hit = fs.hit.take();
                assert_eq!(hit.is_some(), nospc, "{operation:?}");
                let (disk, files) = hits.get();
                hits.set((
                    disk + u32::from(hit == Some(Limit::Disk)),
                    files + u32::from(hit == Some(Limit::Files)),
                ));
            }
            // Some are closed before they are removed, some after.
            (0..SLOTS / 2).for_each(|slot| drop(ours.run(&Operation::Close { slot })));
            remove_all(&mut ours);
            ours.guest.fs().audit();
            (SLOTS / 2..SLOTS).for_each(|slot| drop(ours.run(&Operation::Close { slot })));
            ours.guest.fs().audit();
            assert_eq!(ours.guest.fs().used(), Quota::default());
            Ok(())
        })
        .unwrap();
    let (disk, files) = hits.get();
    assert!(disk > 100 && files > 100, "the quotas were hardly tested: {disk}, {files}");
}

#[test]
fn a_fork_and_a_frozen_copy_go_on_as_the_original_does() {
    let sequences = (collection::vec(operation(), 1..40), collection::vec(operation(), 1..40));
    TestRunner::new(config(500))
        .run(&sequences, |(before, after)| {
            let mut original = Ours::new(Guest::new(Fs::new()));
            run(&mut original, &before);
            let slots = original.slots;
            let fork = original.guest.fs().clone();
            let frozen = postcard::to_allocvec(&fork).unwrap();
            let expected = run(&mut original, &after);
            let tree = original.tree();
            // What the original did since is nowhere to be seen in its fork.
            assert!(postcard::to_allocvec(&fork).unwrap() == frozen);
            let thawed: Fs = postcard::from_bytes(&frozen).unwrap();
            for copy in [fork, thawed] {
                copy.audit();
                let mut copy = Ours { guest: Guest::new(copy), slots };
                assert_eq!(run(&mut copy, &after), expected);
                assert_eq!(copy.tree(), tree);
            }
            Ok(())
        })
        .unwrap();
}
