//! Files of shared objects, as sessions get them.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod links;

use cellblock_cache::Objects;

/// Returns an empty cache and the directory that it is in.
fn cache() -> (tempfile::TempDir, Objects) {
    let directory = tempfile::tempdir().unwrap();
    let objects = Objects::open(directory.path().join("cache")).unwrap();
    (directory, objects)
}
