//! Oracles: what holds of the file system after any operations.
//!
//! Operations are data ([`operations`]), made by proptest in the tests and out of libFuzzer's bytes in `fuzz/`.
#![allow(clippy::unwrap_used, reason = "an oracle panics when an invariant is broken")]

pub(in crate::fs) mod guest;
pub(in crate::fs) mod linux;
pub(in crate::fs) mod operations;

use cellblock_exec::Limit;

use self::{
    guest::Guest,
    operations::{Given, Operation, Ours, SLOTS, operations_in},
};
use super::{Errno, Fs, Quota, descriptors::ROOT};

/// Any operations on a file system: the first byte says how many of them come before it is copied.
///
/// See [`within_quota`] and [`copies_agree`].
pub fn file_system(bytes: &[u8]) {
    let Some((before, bytes)) = bytes.split_first() else { return };
    let operations = operations_in(bytes);
    within_quota(&operations);
    let (before, after) = operations.split_at(operations.len().min(usize::from(*before)));
    copies_agree(before, after);
}

/// Any operations give what Linux gives, with the exceptions that `oracles/linux.rs` lists.
///
/// It takes the right to have a root directory of its own.
pub fn file_system_as_linux(bytes: &[u8]) {
    let operations = operations_in(bytes);
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().to_owned();
    // A thread for each sequence: it cannot leave its root again.
    let result = std::thread::spawn(move || linux::compare(&root, &operations)).join().unwrap();
    result.unwrap_or_else(|difference| panic!("{difference}"));
}

/// Checks that a quota is never exceeded, that exactly what it refuses names a limit, that the tree is sound after every
/// operation, and that nothing is used when all is removed and closed. Returns how often each limit was met: disk, files.
pub(in crate::fs) fn within_quota(operations: &[Operation]) -> (u32, u32) {
    let mut fs = Fs::new();
    fs.set_quota(Quota { bytes: 40, files: 4 });
    let mut ours = Ours::new(Guest::new(fs));
    let (mut disk, mut files) = (0, 0);
    for operation in operations {
        let nospc = ours.run(operation) == Err(Errno::Nospc);
        let fs = ours.guest.fs();
        fs.audit();
        let hit = fs.hit.take();
        assert_eq!(hit.is_some(), nospc, "{operation:?}");
        disk += u32::from(hit == Some(Limit::Disk));
        files += u32::from(hit == Some(Limit::Files));
    }
    // Some are closed before they are removed, some after.
    (0..SLOTS / 2).for_each(|slot| drop(ours.run(&Operation::Close { slot })));
    remove_all(&mut ours);
    ours.guest.fs().audit();
    (SLOTS / 2..SLOTS).for_each(|slot| drop(ours.run(&Operation::Close { slot })));
    ours.guest.fs().audit();
    assert_eq!(ours.guest.fs().used(), Quota::default());
    (disk, files)
}

/// Checks that a fork and a frozen copy, made between two sequences, do in the second one what the original does, and see
/// nothing of what it did.
pub(in crate::fs) fn copies_agree(before: &[Operation], after: &[Operation]) {
    let mut original = Ours::new(Guest::new(Fs::new()));
    run(&mut original, before);
    let slots = original.slots;
    let fork = original.guest.fs().clone();
    let frozen = postcard::to_allocvec(&fork).unwrap();
    let expected = run(&mut original, after);
    let tree = original.tree();
    // What the original did since is nowhere to be seen in its fork.
    assert!(postcard::to_allocvec(&fork).unwrap() == frozen);
    let thawed: Fs = postcard::from_bytes(&frozen).unwrap();
    for copy in [fork, thawed] {
        copy.audit();
        let mut copy = Ours { guest: Guest::new(copy), slots };
        assert_eq!(run(&mut copy, after), expected);
        assert_eq!(copy.tree(), tree);
    }
}

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
