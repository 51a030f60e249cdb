use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

#[test]
fn a_home_cannot_be_a_prefix() {
    let home = Path::new("/home/ann");
    for (prefix, holds) in [
        ("/home/ann", true),
        ("/home", true),
        ("/home/ann/.local", true),
        ("/home/ann/.local/share/uv/python/cpython-3.12", false),
        ("/opt/python", false),
    ] {
        assert_eq!(contains_home(Path::new(prefix), home), holds, "{prefix}");
    }
    assert!(!contains_home(Path::new("/usr"), Path::new("/")));
}

/// Makes a directory that looks like an installation. Returns its parent and itself.
fn installation() -> (tempfile::TempDir, PathBuf) {
    let top = tempfile::tempdir().unwrap();
    fs::set_permissions(top.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let prefix = top.path().canonicalize().unwrap().join("python");
    fs::create_dir_all(prefix.join("bin")).unwrap();
    fs::create_dir_all(prefix.join("lib/python3.12/site-packages")).unwrap();
    fs::write(prefix.join("bin/python3.12"), b"\x7fELF and more").unwrap();
    fs::set_permissions(prefix.join("bin/python3.12"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("python3.12", prefix.join("bin/python3")).unwrap();
    (top, prefix)
}

#[test]
fn scripts_are_skipped_and_links_followed() {
    let (top, prefix) = installation();
    let shims = top.path().join("shims");
    fs::create_dir(&shims).unwrap();
    fs::write(shims.join("python3"), "#!/bin/sh\nexec real \"$@\"\n").unwrap();
    fs::set_permissions(shims.join("python3"), fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("relative:{}:{}/bin", shims.display(), prefix.display());
    let python = find(None, &path, Isolation::Namespaces).unwrap();
    assert_eq!(python.program, prefix.join("bin/python3.12"));
    assert_eq!((python.prefix, python.version), (prefix, Some((3, 12))));
    let named = find(Some(&shims.join("python3")), "", Isolation::Namespaces);
    assert!(matches!(named, Err(Error::Invalid { .. })), "{named:?}");
}

#[test]
fn old_and_unreadable_interpreters_are_skipped() {
    let (_top, prefix) = installation();
    fs::rename(prefix.join("bin/python3.12"), prefix.join("bin/python3.7")).unwrap();
    fs::remove_file(prefix.join("bin/python3")).unwrap();
    symlink("python3.7", prefix.join("bin/python3")).unwrap();
    let given = prefix.join("bin/python3");
    assert!(find(Some(&given), "", Isolation::Namespaces).is_err());
    let found = find(None, &format!("{}/bin", prefix.display()), Isolation::Namespaces);
    assert!(found.is_ok_and(|python| python.prefix != prefix));

    let (top, prefix) = installation();
    fs::set_permissions(top.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let given = prefix.join("bin/python3");
    assert!(find(Some(&given), "", Isolation::Namespaces).is_ok());
    let landlock = find(Some(&given), "", Isolation::Landlock);
    assert_eq!(landlock.is_err(), Uid::effective().is_root(), "{landlock:?}");
}

#[test]
fn an_environment_leads_to_its_base() {
    let (top, prefix) = installation();
    let venv = top.path().canonicalize().unwrap().join("venv");
    fs::create_dir_all(venv.join("bin")).unwrap();
    fs::create_dir_all(venv.join("lib/python3.12/site-packages")).unwrap();
    fs::write(
        venv.join("pyvenv.cfg"),
        format!("home = {}/bin\nversion = 3.12.1\n", prefix.display()),
    )
    .unwrap();
    // A copy, as some systems make one.
    fs::write(venv.join("bin/python3"), b"\x7fELF and more").unwrap();
    let (python, environment) = find_venv(&venv, Isolation::Namespaces).unwrap();
    assert_eq!(python.program, prefix.join("bin/python3.12"));
    assert_eq!(environment.modules, venv.join("lib/python3.12/site-packages"));
    assert!(find_venv(&prefix.join("lib"), Isolation::Namespaces).is_err());
}
