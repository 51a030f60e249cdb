use std::fs;

use super::*;

#[test]
fn files_and_links_are_counted_wherever_they_are() {
    let directory = tempfile::tempdir().unwrap();
    let (top, limits) = (directory.path(), Limits::default());
    fs::create_dir_all(top.join("workspace/a/b")).unwrap();
    fs::create_dir_all(top.join("system/bin")).unwrap();
    fs::write(top.join("workspace/a/one"), vec![0; 5000]).unwrap();
    fs::hard_link(top.join("workspace/a/one"), top.join("workspace/two")).unwrap();
    fs::File::create(top.join("workspace/hole")).unwrap().set_len(1 << 20).unwrap();
    let files = look(top, &limits);
    assert_eq!(files.count, 5);
    assert!((5000 + (1 << 20)..(1 << 20) + 20_000).contains(&files.bytes), "{files:?}");
    fs::create_dir(top.join("beside")).unwrap();
    fs::write(top.join("beside/three"), vec![0; 1 << 16]).unwrap();
    let more = look(top, &limits);
    assert_eq!((more.count, more.bytes - files.bytes), (7, 1 << 16));
    assert!(look(top, &Limits { files: 2, ..limits }).count <= 3);
}

#[test]
fn closed_directories_are_counted_and_stay_closed() {
    use std::os::unix::fs::PermissionsExt as _;
    let top = tempfile::tempdir().unwrap();
    let (outer, inner) = (top.path().join("tmp/outer"), top.path().join("tmp/outer/inner"));
    for (mode, number) in [0o000, 0o100, 0o200, 0o300, 0o400, 0o700].into_iter().zip(1..) {
        fs::create_dir_all(&inner).unwrap();
        fs::write(inner.join(format!("file-{mode:o}")), vec![0; 10_000]).unwrap();
        let set = |path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
        set(&inner, mode).unwrap();
        set(&outer, mode).unwrap();
        let files = look(top.path(), &Limits::default());
        assert_eq!(files.count, 2 + number, "{mode:o}");
        assert!((10_000 * number..13_000 * number).contains(&files.bytes), "{files:?}");
        let kept = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(kept(&outer), mode);
        set(&outer, 0o700).unwrap();
        assert_eq!(kept(&inner), mode);
        set(&inner, 0o700).unwrap();
    }
}

#[test]
fn links_are_not_followed() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir_all(directory.path().join("workspace")).unwrap();
    std::os::unix::fs::symlink("/usr", directory.path().join("workspace/usr")).unwrap();
    std::os::unix::fs::symlink("/usr", directory.path().join("tmp")).unwrap();
    assert_eq!(look(directory.path(), &Limits::default()).count, 1);
}
