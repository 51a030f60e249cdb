use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt, symlink},
};

use super::*;

#[test]
fn deep_locked_and_linked_directories_go_and_nothing_else() {
    let outer = tempfile::tempdir().unwrap();
    let kept = outer.path().join("kept");
    fs::create_dir(&kept).unwrap();
    fs::write(kept.join("file"), "kept").unwrap();
    let top = outer.path().join("cell");
    let chain = top.join(vec!["d".repeat(60); 50].join("/"));
    fs::create_dir_all(&chain).unwrap();
    // Deeper than a path can be long.
    let deep = outer.path().join("deep");
    for _ in 0..4 {
        fs::rename(top.join("d".repeat(60)), &deep).unwrap();
        fs::create_dir_all(&chain).unwrap();
        fs::rename(&deep, chain.join("more")).unwrap();
    }
    symlink(&kept, top.join("link")).unwrap();
    symlink(&kept, top.join(".removing-1")).unwrap();
    fs::create_dir_all(top.join("locked/inner")).unwrap();
    fs::write(top.join("locked/inner/file"), "x").unwrap();
    fs::set_permissions(top.join("locked/inner"), Permissions::from_mode(0o0)).unwrap();
    fs::set_permissions(top.join("locked"), Permissions::from_mode(0o0)).unwrap();
    let opened = open_top(&top).unwrap();
    empty(opened.as_fd()).unwrap();
    assert_eq!(fs::read_dir(&top).unwrap().count(), 0);
    assert_eq!(fs::read_to_string(kept.join("file")).unwrap(), "kept");
}

#[test]
fn no_way_leads_out() {
    let outer = tempfile::tempdir().unwrap();
    fs::create_dir_all(outer.path().join("top/in")).unwrap();
    fs::write(outer.path().join("secret"), "").unwrap();
    symlink("..", outer.path().join("top/up")).unwrap();
    symlink("in", outer.path().join("top/alias")).unwrap();
    let top = open_top(&outer.path().join("top")).unwrap();
    for path in ["../secret", "up/secret", "/etc/passwd", "in/../../secret", "alias"] {
        let opened = open(top.as_fd(), path, OFlag::O_PATH | OFlag::O_DIRECTORY);
        assert!(opened.is_err(), "{path}");
    }
    assert!(open(top.as_fd(), "in", OFlag::O_PATH).is_ok(), "the control");
}

/// A program that outlives its cell replaces directories by links to elsewhere while they are
/// removed.
#[test]
fn a_directory_that_becomes_a_link_is_not_followed() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let outer = tempfile::tempdir().unwrap();
    let (kept, top) = (outer.path().join("kept"), outer.path().join("top"));
    for round in 0..5 {
        fs::create_dir_all(kept.join("inner")).unwrap();
        fs::write(kept.join("inner/file"), "kept").unwrap();
        fs::create_dir(&top).unwrap();
        for number in 0..100 {
            fs::create_dir_all(top.join(format!("{number}/x"))).unwrap();
        }
        symlink(&kept, outer.path().join("link")).unwrap();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let link = outer.path().join("link");
                while !stop.load(Ordering::Relaxed) {
                    for entry in fs::read_dir(&top).into_iter().flatten().flatten() {
                        let at = nix::fcntl::AT_FDCWD;
                        let exchange = RenameFlags::RENAME_EXCHANGE;
                        let _ = renameat2(at, &link, at, &entry.path(), exchange);
                    }
                }
            });
            let opened = open_top(&top).unwrap();
            // A change at the same time may make it fail, but never reach elsewhere.
            for _ in 0..4 {
                let _ = empty(opened.as_fd());
            }
            stop.store(true, Ordering::Relaxed);
        });
        let content = fs::read_to_string(kept.join("inner/file"));
        assert_eq!(content.unwrap(), "kept", "round {round}");
        empty(open_top(outer.path()).unwrap().as_fd()).unwrap();
    }
}
