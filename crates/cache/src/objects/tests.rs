//! The cache stays sound, whatever happens while an object is made or while it is stored.

use std::{
    cell::Cell,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use cellblock_exec::with_causes;
use cellblock_rerun::{assert_passed, inside, mount_namespace, rerun};

use super::{Objects, object_id};
use crate::{
    error::storage_error,
    index::{INDEX, Rehash},
};

const ID: &str = "object-1";
const CONTENT: &[u8] = b"the content of a file";

fn cache() -> (tempfile::TempDir, Objects) {
    let directory = tempfile::tempdir().unwrap();
    let objects = Objects::open(directory.path().join("cache")).unwrap();
    (directory, objects)
}

/// Makes an object of two files.
async fn make(objects: &Objects, id: &str) -> cellblock_exec::Result<PathBuf> {
    objects.get_or_make(id, async |into| write(into)).await
}

fn write(into: &Path) -> cellblock_exec::Result<()> {
    for name in ["first", "second"] {
        let path = into.join(name);
        fs::write(&path, CONTENT).map_err(|source| storage_error("write", &path, source))?;
    }
    Ok(())
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// The text of the error with its causes.
fn why<T: std::fmt::Debug>(result: cellblock_exec::Result<T>) -> String {
    with_causes(&result.unwrap_err())
}

#[tokio::test]
async fn an_object_is_made_once() {
    let (_directory, objects) = cache();
    assert!(!objects.check(ID, Rehash::All).unwrap());
    let made = Cell::new(0);
    for _ in 0..3 {
        let build = async |into: &Path| {
            assert!(names(into).is_empty());
            made.set(made.get() + 1);
            write(into)
        };
        let path = objects.get_or_make(ID, build).await.unwrap();
        assert_eq!(path, objects.path(ID));
        assert_eq!(names(&path), ["first", INDEX, "second"]);
    }
    assert_eq!(made.get(), 1);
    assert!(objects.check(ID, Rehash::Touched).unwrap() && objects.check(ID, Rehash::All).unwrap());
    assert!(names(&objects.root.join("tmp")).is_empty());
    assert!(objects.size(ID) > 0);
    assert!(objects.remove(ID).unwrap() > 0);
    assert_eq!(objects.remove(ID).unwrap(), 0);
    assert_eq!(objects.size(ID), 0);
    assert!(!objects.check(ID, Rehash::Touched).unwrap());
    assert!(names(&objects.root.join("tmp")).is_empty());
    make(&objects, ID).await.unwrap();
}

#[tokio::test]
async fn two_who_want_the_same_object_make_it_once() {
    let (_directory, objects) = cache();
    // A second handle stands for another process: locks belong to open files, not to processes.
    let other = Objects::open(objects.root.clone()).unwrap();
    let (made, at_once) = (AtomicU32::new(0), AtomicU32::new(0));
    let build = async |into: &Path| {
        assert_eq!(at_once.fetch_add(1, Ordering::SeqCst), 0, "two build at once");
        tokio::time::sleep(Duration::from_millis(50)).await;
        made.fetch_add(1, Ordering::SeqCst);
        at_once.fetch_sub(1, Ordering::SeqCst);
        write(into)
    };
    let (one, two, third) = tokio::join!(
        objects.get_or_make(ID, build),
        other.get_or_make(ID, build),
        objects.get_or_make(ID, build)
    );
    assert_eq!(
        (one.unwrap(), two.unwrap(), third.unwrap()),
        (objects.path(ID), objects.path(ID), objects.path(ID))
    );
    assert_eq!(made.load(Ordering::SeqCst), 1);
    // Another object does not wait for this one.
    let _lock = objects.lock(ID).await.unwrap();
    tokio::time::timeout(Duration::from_secs(5), make(&other, "object-2")).await.unwrap().unwrap();
}

#[tokio::test]
async fn one_who_fails_lets_the_next_one_try() {
    let (_directory, objects) = cache();
    let began = tokio::sync::Notify::new();
    let fails = objects.get_or_make(ID, async |into| {
        write(into)?;
        began.notify_one();
        tokio::time::sleep(Duration::from_millis(50)).await;
        Err(storage_error("write", into, std::io::Error::other("out of luck")))
    });
    let waits = async {
        began.notified().await;
        make(&objects, ID).await
    };
    let (first, second) = tokio::join!(fails, waits);
    assert!(why(first).ends_with("out of luck"));
    second.unwrap();
    assert!(objects.check(ID, Rehash::All).unwrap());
    assert!(names(&objects.root.join("tmp")).is_empty());
}

#[tokio::test]
async fn an_interrupted_build_leaves_nothing() {
    let (_directory, objects) = cache();
    let build = objects.get_or_make(ID, async |into| {
        write(into)?;
        std::future::pending().await
    });
    assert!(tokio::time::timeout(Duration::from_millis(100), build).await.is_err());
    assert!(!objects.check(ID, Rehash::Touched).unwrap());
    assert!(
        names(&objects.root.join("objects")).is_empty()
            && names(&objects.root.join("tmp")).is_empty()
    );
    make(&objects, ID).await.unwrap();
}

const KILLED: &str = "objects::tests::a_killed_build_leaves_only_what_the_next_one_removes";
const KILLED_CACHE: &str = "CELLBLOCK_TEST_CACHE";

#[tokio::test]
async fn a_killed_build_leaves_only_what_the_next_one_removes() {
    if let Some(root) = std::env::var_os(KILLED_CACHE) {
        let objects = Objects::open(root.into()).unwrap();
        let build = async |into: &Path| {
            write(into)?;
            // Like a process that is killed: nothing is dropped, nothing is unlocked.
            std::process::abort()
        };
        objects.get_or_make(ID, build).await.unwrap();
        return;
    }
    let (_directory, objects) = cache();
    let root = objects.root.display().to_string();
    let output = rerun(KILLED, &[], &[(KILLED_CACHE, &root)]).unwrap();
    assert!(!output.status.success());
    assert!(!objects.check(ID, Rehash::Touched).unwrap());
    assert_eq!(names(&objects.root.join("tmp")).len(), 1);
    tokio::time::timeout(Duration::from_secs(5), make(&objects, ID)).await.unwrap().unwrap();
    assert_eq!(names(&objects.path(ID)), ["first", INDEX, "second"]);
    assert!(names(&objects.root.join("tmp")).is_empty());
}

#[tokio::test]
async fn damage_is_seen_and_repaired() {
    /// A name, the damage that is done to the object, and a part of the error.
    type Damage = (&'static str, fn(&Path), &'static str);
    let damages: [Damage; 9] = [
        ("a byte, with the times set back", flip_quietly, "not what was stored"),
        ("a longer file", |object| append(&object.join("second")), "not what was stored"),
        (
            "an empty file",
            |object| fs::write(object.join("first"), "").unwrap(),
            "not what was stored",
        ),
        ("a missing file", |object| fs::remove_file(object.join("first")).unwrap(), "cannot read"),
        ("a directory for a file", directory_for_file, "cannot read"),
        ("a link to another file", link_to_other, "not what was stored"),
        ("a missing index", |object| fs::remove_file(object.join(INDEX)).unwrap(), "cannot read"),
        ("an empty index", |object| fs::write(object.join(INDEX), "").unwrap(), "cannot parse"),
        ("a cut index", cut_index, "cannot parse"),
    ];
    for (what, damage, said) in damages {
        let (_directory, objects) = cache();
        let path = make(&objects, ID).await.unwrap();
        damage(&path);
        for check in [Rehash::Touched, Rehash::All] {
            let why = why(objects.check(ID, check));
            assert!(why.contains(said), "{what}: {why}");
        }
        make(&objects, ID).await.unwrap();
        assert!(objects.check(ID, Rehash::All).unwrap(), "{what}");
        assert_eq!(fs::read(path.join("first")).unwrap(), CONTENT, "{what}");
        assert!(names(&objects.root.join("tmp")).is_empty(), "{what}");
    }
}

/// Changes a byte but not the size, inode and modification time.
fn flip_quietly(object: &Path) {
    let path = object.join("first");
    let before = fs::metadata(&path).unwrap();
    let mut content = fs::read(&path).unwrap();
    content[3] ^= 1;
    fs::write(&path, &content).unwrap();
    fs::File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_modified(before.modified().unwrap())
        .unwrap();
    let after = fs::metadata(&path).unwrap();
    assert_eq!(
        (after.len(), after.ino(), after.modified().unwrap()),
        (before.len(), before.ino(), before.modified().unwrap())
    );
}

fn append(path: &Path) {
    let mut content = fs::read(path).unwrap();
    content.push(0);
    fs::write(path, content).unwrap();
}

fn directory_for_file(object: &Path) {
    fs::remove_file(object.join("first")).unwrap();
    fs::create_dir(object.join("first")).unwrap();
}

fn link_to_other(object: &Path) {
    let other = object.parent().unwrap().join("other");
    fs::write(&other, "other content").unwrap();
    fs::remove_file(object.join("first")).unwrap();
    symlink(other, object.join("first")).unwrap();
}

fn cut_index(object: &Path) {
    let index = fs::read(object.join(INDEX)).unwrap();
    fs::write(object.join(INDEX), &index[..index.len() / 2]).unwrap();
}

#[tokio::test]
async fn what_was_only_touched_is_good() {
    let (_directory, objects) = cache();
    let path = make(&objects, ID).await.unwrap();
    let before = fs::read(path.join(INDEX)).unwrap();
    // A copy has other times, as after the cache was moved.
    fs::copy(path.join("first"), path.join("copy")).unwrap();
    fs::rename(path.join("copy"), path.join("first")).unwrap();
    assert!(objects.check(ID, Rehash::Touched).unwrap());
    let after = fs::read(path.join(INDEX)).unwrap();
    assert!(before != after, "it would be hashed again each time");
    assert!(objects.check(ID, Rehash::Touched).unwrap());
    assert_eq!(fs::read(path.join(INDEX)).unwrap(), after);
    assert!(names(&objects.root.join("tmp")).is_empty());
}

#[tokio::test]
async fn the_cache_is_its_users_alone() {
    let directory = tempfile::tempdir().unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    let set =
        |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    // A new cache.
    let root = directory.path().join("deep/cache");
    let objects = Objects::open(root.clone()).unwrap();
    let path = make(&objects, ID).await.unwrap();
    for made in [&root, &root.join("objects"), &root.join("locks"), &root.join("tmp")] {
        assert_eq!(mode(made), 0o700, "{}", made.display());
    }
    assert_eq!(mode(&path.join("first")), 0o600);
    // An existing directory: others lose the right to change it.
    set(&root.join("objects"), 0o777);
    for (before, after) in
        [(0o777, 0o755), (0o770, 0o750), (0o1777, 0o1777), (0o755, 0o755), (0o700, 0o700)]
    {
        set(&root, before);
        Objects::open(root.clone()).unwrap();
        assert_eq!((mode(&root), mode(&root.join("objects"))), (after, 0o700));
    }
}

#[test]
fn the_cache_of_another_user_is_refused() {
    let other = nix::unistd::geteuid().as_raw() ^ 1;
    let directory = tempfile::tempdir().unwrap();
    for part in ["", "objects", "locks", "tmp"] {
        let root = directory.path().join(format!("cache-{part}"));
        Objects::open(root.clone()).unwrap();
        if chown(root.join(part), Some(other), None).is_err() {
            println!("skipped: only root can give a directory to another user");
            return;
        }
        let why = why(Objects::open(root));
        assert!(why.contains("belongs to another user"), "{why}");
    }
}

#[test]
fn a_cache_that_cannot_be_made_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    for root in [file.clone(), file.join("below")] {
        let why = why(Objects::open(root));
        assert!(why.starts_with("cannot create") && why.contains("directory"), "{why}");
    }
    let why = why(Objects::open(directory.path().join("name\0")));
    assert!(why.starts_with("cannot create"), "{why}");
}

const FULL: &str = "objects::tests::a_full_disk_leaves_the_cache_sound";

#[tokio::test]
async fn a_full_disk_leaves_the_cache_sound() {
    if !inside() {
        if let Some(wrapper) = mount_namespace() {
            assert_passed(&rerun(FULL, &wrapper, &[]).unwrap());
        }
        return;
    }
    // Only this process sees the mount.
    let directory = tempfile::tempdir().unwrap();
    let mount = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=256k", "none"])
        .arg(directory.path())
        .status();
    assert!(mount.unwrap().success());
    let objects = Objects::open(directory.path().join("cache")).unwrap();
    make(&objects, "small").await.unwrap();
    let large = objects.get_or_make(ID, async |into| {
        let path = into.join("large");
        fs::write(&path, vec![7; 1 << 20]).map_err(|source| storage_error("write", &path, source))
    });
    let full = "No space left on device";
    assert!(why(large.await).contains(full));
    // The disk is full to the last block, so not even the directory for it can be made.
    let filler = directory.path().join("filler");
    let _ = fs::write(&filler, vec![7; 1 << 20]);
    for attempt in [make(&objects, ID).await, objects.get_or_make(ID, async |_| Ok(())).await] {
        assert!(why(attempt).contains(full));
    }
    assert!(!objects.check(ID, Rehash::Touched).unwrap());
    assert!(objects.check("small", Rehash::All).unwrap());
    assert!(
        objects.remove("small").unwrap_or_default() > 0
            || objects.check("small", Rehash::All).unwrap()
    );
    fs::remove_file(&filler).unwrap();
    make(&objects, ID).await.unwrap();
    assert!(objects.check(ID, Rehash::All).unwrap());
    assert!(names(&objects.root.join("tmp")).is_empty());
}

#[test]
fn names_tell_apart_all_that_objects_are_made_from() {
    let names = [
        object_id("a", &[]),
        object_id("a", &[b""]),
        object_id("a", &[b"", b""]),
        object_id("a", &[b"xy"]),
        object_id("a", &[b"x", b"y"]),
        object_id("a", &[b"", b"xy"]),
        object_id("b", &[b"xy"]),
    ];
    let unique: std::collections::BTreeSet<&String> = names.iter().collect();
    assert_eq!(unique.len(), names.len());
    assert_eq!(object_id("a", &[b"xy"]), names[3]);
    assert!(names[0].starts_with("a-") && names[0].len() == 34);
}
