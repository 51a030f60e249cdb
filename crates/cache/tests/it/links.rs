use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

use cellblock_cache::{Objects, Rehash, storage_error, visit_files};

use crate::cache;

const ID: &str = "tree-1";

async fn make(objects: &Objects) {
    let build = async |into: &Path| {
        let write = || {
            for (name, mode) in [
                ("module.py", 0o600),
                ("deep/er/data", 0o644),
                ("bin/tool", 0o700),
                ("set.json", 0o600),
            ] {
                let path = into.join(name);
                fs::create_dir_all(path.parent().unwrap_or(into))?;
                fs::write(&path, name)?;
                fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
            }
            Ok(())
        };
        write().map_err(|source| storage_error("write", into, source))
    };
    objects.get_or_make_shared(ID, build).await.unwrap();
}

/// Returns the names, modes and contents of all files.
fn tree(directory: &Path) -> Vec<(String, u32, String)> {
    let mut tree = Vec::new();
    let mut visit = |name: &str, path: &Path| {
        let mode = fs::metadata(path)?.permissions().mode() & 0o7777;
        tree.push((name.to_owned(), mode, fs::read_to_string(path)?));
        Ok(())
    };
    visit_files(directory, &mut visit).unwrap();
    tree
}

#[tokio::test]
async fn a_session_has_links_to_an_objects_files_and_cannot_write_them() {
    let (directory, objects) = cache();
    make(&objects).await;
    let session = directory.path().join("session");
    objects.link_into(ID, &session, &["set.json"]).unwrap();
    let expected = [("bin/tool", 0o555), ("deep/er/data", 0o444), ("module.py", 0o444)];
    let expected: Vec<_> =
        expected.map(|(name, mode)| (name.to_owned(), mode, name.to_owned())).into_iter().collect();
    assert_eq!(tree(&session), expected);
    let inode = |path: &Path| fs::metadata(path).unwrap().ino();
    assert_eq!(inode(&session.join("module.py")), inode(&objects.path(ID).join("module.py")));
    assert_eq!(fs::metadata(session.join("deep/er")).unwrap().permissions().mode() & 0o777, 0o755);
    // A second time changes nothing, and other files stay.
    fs::write(session.join("mine.py"), "mine").unwrap();
    objects.link_into(ID, &session, &["set.json"]).unwrap();
    assert_eq!(tree(&session).len(), 4);
    // The object's index is unchanged: links do not make the cache hash the files again.
    let index = fs::read(objects.path(ID).join("object.json")).unwrap();
    assert!(objects.check(ID, Rehash::Touched).unwrap());
    assert_eq!(fs::read(objects.path(ID).join("object.json")).unwrap(), index);
    // The links outlive the object.
    assert!(objects.remove(ID).unwrap() > 0);
    assert_eq!(fs::read_to_string(session.join("module.py")).unwrap(), "module.py");
    assert!(objects.link_into(ID, &session, &[]).unwrap_err().to_string().contains("object.json"));
}

#[tokio::test]
async fn on_another_file_system_a_session_has_copies() {
    let (directory, objects) = cache();
    make(&objects).await;
    let elsewhere = tempfile::tempdir_in("/dev/shm").unwrap();
    let device = |path: &Path| fs::metadata(path).unwrap().dev();
    assert_ne!(device(elsewhere.path()), device(directory.path()), "this needs two file systems");
    let (near, far) = (directory.path().join("near"), elsewhere.path().join("far"));
    for session in [&near, &far] {
        objects.link_into(ID, session, &[]).unwrap();
    }
    assert_eq!(tree(&near), tree(&far));
}

#[tokio::test]
async fn damage_to_a_shared_object_is_repaired() {
    let (_directory, objects) = cache();
    make(&objects).await;
    for name in ["module.py", "deep/er/data"] {
        let path = objects.path(ID).join(name);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        fs::write(&path, "changed").unwrap();
        assert!(objects.check(ID, Rehash::Touched).is_err());
        make(&objects).await;
        assert!(objects.check(ID, Rehash::All).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), name);
    }
    // A file that was added to the object's directory is not linked.
    fs::write(objects.path(ID).join("intruder.py"), "").unwrap();
    let session = tempfile::tempdir().unwrap();
    objects.link_into(ID, session.path(), &[]).unwrap();
    assert!(
        session.path().join("module.py").exists() && !session.path().join("intruder.py").exists()
    );
}

#[tokio::test]
async fn what_is_held_is_not_removed() {
    let (_directory, objects) = cache();
    assert!(objects.hold(ID).unwrap_err().to_string().contains(ID));
    make(&objects).await;
    // Another process removes the object while two values hold it.
    let other = Objects::open(objects.root.clone()).unwrap();
    let (one, two) = (objects.hold(ID).unwrap(), objects.hold(ID).unwrap());
    assert_eq!(one.directory, objects.path(ID));
    for held in [one, two] {
        assert_eq!(other.remove(ID).unwrap(), 0);
        assert!(held.directory.join("module.py").exists());
    }
    assert!(other.remove(ID).unwrap() > 0);
    assert!(objects.hold(ID).is_err());
    // A held object that is damaged is made again all the same.
    make(&objects).await;
    let _held = objects.hold(ID).unwrap();
    fs::remove_file(objects.path(ID).join("module.py")).unwrap();
    make(&objects).await;
    assert!(objects.path(ID).join("module.py").exists());
}
