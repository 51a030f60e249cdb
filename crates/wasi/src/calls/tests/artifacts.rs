//! Artifacts of a workspace.

use super::files::{content, make};
use crate::{
    fs::{Fs, WORKSPACE, descriptors::ROOT},
    oracles::files::guest::{Guest, OpenHow},
};

fn guest() -> Guest {
    let mut fs = Fs::new();
    fs.make_directories(WORKSPACE).unwrap();
    fs.make_directories("/tmp").unwrap();
    Guest::new(fs)
}

/// Returns the paths of artifacts and of refused files that changed after `since`.
fn changed(guest: &mut Guest, since: u64) -> (Vec<String>, Vec<String>) {
    let collected = guest.fs().changed_since(since);
    let artifacts = collected.artifacts.into_iter().map(|artifact| artifact.path).collect();
    (artifacts, collected.refused.into_iter().map(|refused| refused.path).collect())
}

#[test]
fn only_what_changed_in_the_workspace_comes_out() {
    let mut guest = guest();
    make(&mut guest, "/workspace/old", b"1");
    make(&mut guest, "/workspace/rewritten", b"1");
    make(&mut guest, "/workspace/removed", b"1");
    let since = guest.fs().changes;
    assert_eq!(changed(&mut guest, since), (vec![], vec![]));
    content(&mut guest, "/workspace/old").unwrap();
    make(&mut guest, "/workspace/rewritten", b"2");
    make(&mut guest, "/workspace/new", b"");
    make(&mut guest, "/tmp/elsewhere", b"2");
    guest.unlink(ROOT, "/workspace/removed").unwrap();
    guest.mkdir(ROOT, "/workspace/directory").unwrap();
    make(&mut guest, "/workspace/directory/inner.csv", b"1,2");
    guest.symlink("/etc/passwd", ROOT, "/workspace/link").unwrap();
    let expected = ["directory/inner.csv", "new", "rewritten"].map(str::to_owned).to_vec();
    assert_eq!(changed(&mut guest, since), (expected, vec!["link".to_owned()]));
    let artifacts = guest.fs().changed_since(since).artifacts;
    assert_eq!(
        (artifacts[0].bytes, &**artifacts[0].content, &*artifacts[0].media_type),
        (3, &b"1,2"[..], "text/csv")
    );
}

#[test]
fn what_was_moved_here_is_new() {
    let mut guest = guest();
    make(&mut guest, "/tmp/file", b"1");
    guest.mkdir(ROOT, "/tmp/results").unwrap();
    guest.mkdir(ROOT, "/tmp/results/inner").unwrap();
    make(&mut guest, "/tmp/results/inner/plot.png", b"1");
    guest.mkdir(ROOT, "/workspace/stays").unwrap();
    make(&mut guest, "/workspace/stays/file", b"1");
    let since = guest.fs().changes;
    guest.rename((ROOT, "/tmp/file"), (ROOT, "/workspace/file")).unwrap();
    guest.rename((ROOT, "/tmp/results"), (ROOT, "/workspace/results")).unwrap();
    assert_eq!(changed(&mut guest, since).0, ["file", "results/inner/plot.png"]);
}

#[test]
fn artifacts_cannot_be_many_or_have_long_paths() {
    let mut guest = guest();
    for n in 0..1500 {
        make(&mut guest, &format!("/workspace/file-{n}"), b"");
    }
    let collected = guest.fs().changed_since(0);
    assert_eq!((collected.artifacts.len(), collected.refused.len()), (1000, 500));

    // Each path would be as long as all directories above the file: a million times as many bytes
    // as the guest wrote.
    let mut guest = self::guest();
    let name = "d".repeat(255);
    let mut at = guest.open(ROOT, WORKSPACE, OpenHow::READ).unwrap();
    for _ in 0..1000 {
        guest.mkdir(at, &name).unwrap();
        at = guest.open(at, &name, OpenHow::READ).unwrap();
    }
    for n in 0..1000 {
        let fd = guest.open(at, &format!("file-{n}"), OpenHow::CREATE).unwrap();
        guest.close(fd).unwrap();
    }
    make(&mut guest, "/workspace/fine", b"");
    let (artifacts, refused) = changed(&mut guest, 0);
    assert_eq!((artifacts, refused), (vec!["fine".to_owned()], vec![name]));
}
