//! Oracles of the file system: its invariants after any operations.
//!
//! [Operations](operations) are data; the tests get them from proptest, `fuzz/` from libFuzzer's
//! bytes.

pub mod guest;
pub mod linux;
pub mod operations;

use cellblock_exec::Limit;

use self::{
    guest::Guest,
    operations::{GuestFs, Operation, OperationResult, SLOTS, operations_in},
};
use crate::fs::{Errno, Fs, Quota, descriptors::ROOT};

/// Checks quotas and copies of a file system with any operations. The first byte is the number of
/// operations before it is copied.
pub fn file_system(bytes: &[u8]) {
    let Some((before, bytes)) = bytes.split_first() else { return };
    let operations = operations_in(bytes);
    within_quota(&operations);
    let (before, after) = operations.split_at(operations.len().min(usize::from(*before)));
    copies_agree(before, after);
}

/// Checks that any operations have the same results as on Linux, with the exceptions that
/// `oracles/files/linux.rs` lists.
///
/// The caller needs the right to change its root directory.
pub fn file_system_as_linux(bytes: &[u8]) {
    let operations = operations_in(bytes);
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().to_owned();
    // Each sequence has a thread, because a thread cannot leave its root again.
    let result = std::thread::spawn(move || linux::compare(&root, &operations)).join().unwrap();
    result.unwrap_or_else(|difference| panic!("{difference}"));
}

/// Checks that a quota is never exceeded, that exactly the operations that it refuses set
/// `Fs::hit`, that the tree is consistent after every operation, and that nothing counts against
/// the quota after all files are removed and closed. Returns the number of refusals by each limit:
/// disk and files.
pub fn within_quota(operations: &[Operation]) -> (u32, u32) {
    let mut fs = Fs::new();
    fs.set_quota(Quota { bytes: 40, files: 4 });
    let mut ours = GuestFs::new(Guest::new(fs));
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
    // Some files are closed before they are removed, some after.
    (0..SLOTS / 2).for_each(|slot| drop(ours.run(&Operation::Close { slot })));
    remove_all(&mut ours);
    ours.guest.fs().audit();
    (SLOTS / 2..SLOTS).for_each(|slot| drop(ours.run(&Operation::Close { slot })));
    ours.guest.fs().audit();
    assert_eq!(ours.guest.fs().used, Quota::default());
    (disk, files)
}

/// Checks that a fork and a frozen copy, made between two sequences, behave in the second one like
/// the original, and do not see its changes.
pub fn copies_agree(before: &[Operation], after: &[Operation]) {
    let mut original = GuestFs::new(Guest::new(Fs::new()));
    run(&mut original, before);
    let slots = original.slots;
    let fork = original.guest.fs().clone();
    let frozen = postcard::to_allocvec(&fork).unwrap();
    let expected = run(&mut original, after);
    let tree = original.tree();
    // The fork has none of the original's later changes.
    assert!(postcard::to_allocvec(&fork).unwrap() == frozen);
    let thawed: Fs = postcard::from_bytes(&frozen).unwrap();
    for copy in [fork, thawed] {
        copy.audit();
        let mut copy = GuestFs { guest: Guest::new(copy), slots };
        assert_eq!(run(&mut copy, after), expected);
        assert_eq!(copy.tree(), tree);
    }
}

fn run(ours: &mut GuestFs, operations: &[Operation]) -> Vec<Result<OperationResult, Errno>> {
    operations.iter().map(|operation| ours.run(operation)).collect()
}

/// Removes all files and directories, the deepest first.
fn remove_all(ours: &mut GuestFs) {
    for (path, content) in ours.tree().iter().rev() {
        if content == "directory" {
            ours.guest.rmdir(ROOT, path).unwrap();
        } else {
            ours.guest.unlink(ROOT, path).unwrap();
        }
    }
}
