//! All of these tests once more as an ordinary user, in another process, when they run as root.

use std::{fs, os::unix::fs::PermissionsExt, os::unix::process::CommandExt, process::Command};

/// A user that has nothing on this machine.
const USER: u32 = 54_321;

#[test]
fn everything_as_an_ordinary_user() {
    if !nix::unistd::Uid::effective().is_root() {
        println!("skipped: these tests run as an ordinary user already");
        return;
    }
    // The build directory may be closed to others.
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = directory.path().join("it");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    // Its own home, for its own cache.
    let home = directory.path().join("home");
    fs::create_dir(&home).unwrap();
    std::os::unix::fs::chown(&home, Some(USER), Some(USER)).unwrap();
    let passed = Command::new(&program)
        .args(["--skip", "unprivileged::", "--test-threads", "2"])
        .current_dir("/")
        .env("HOME", &home)
        .env_remove("XDG_CACHE_HOME")
        .uid(USER)
        .gid(USER)
        .status()
        .unwrap();
    assert!(passed.success());
}
