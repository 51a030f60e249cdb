//! The same operations on our file system and on a real one: see [`crate::oracles::files::linux`].

use cellblock_rerun::{assert_passed, inside, mount_namespace, rerun};
use proptest::{
    collection,
    test_runner::{TestCaseError, TestRunner},
};

use super::operations::{config, operation};
use crate::oracles::files::linux::{RealFs, compare};

const NAME: &str = "calls::tests::differential::it_behaves_as_a_real_file_system";

#[test]
fn it_behaves_as_a_real_file_system() {
    let allowed = std::thread::spawn(|| {
        let directory = tempfile::tempdir().unwrap();
        RealFs::enter(directory.path()).is_ok()
    });
    if !allowed.join().unwrap() {
        assert!(!inside(), "no root directory of its own, even as root of a namespace");
        if let Some(wrapper) = mount_namespace() {
            assert_passed(&rerun(NAME, &wrapper, &[]).unwrap());
        }
        return;
    }
    TestRunner::new(config(2000))
        .run(&collection::vec(operation(), 1..60), |operations| {
            let directory = tempfile::tempdir().unwrap();
            let root = directory.path().to_owned();
            // Each sequence has a thread, because a thread cannot leave its root again.
            let result = std::thread::spawn(move || compare(&root, &operations)).join().unwrap();
            result.map_err(TestCaseError::fail)
        })
        .unwrap();
}
