//! Runs of these tests in other surroundings: as an ordinary user, if they run as root, and in a
//! container without rights.

use std::{fs, os::unix::fs::PermissionsExt, os::unix::process::CommandExt, process::Command};

/// A user that has nothing on this machine.
const USER: u32 = 54_321;

#[test]
fn everything_as_an_ordinary_user() {
    if !nix::unistd::Uid::effective().is_root() {
        println!("skipped: these tests run as an ordinary user already");
        return;
    }
    // The build directory may be closed to other users.
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = directory.path().join("it");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    // A home of its own, for a cache of its own.
    let home = directory.path().join("home");
    fs::create_dir(&home).unwrap();
    std::os::unix::fs::chown(&home, Some(USER), Some(USER)).unwrap();
    let passed = Command::new(&program)
        .args(["--skip", "unprivileged::", "--test-threads", "4"])
        .current_dir("/")
        .env("HOME", &home)
        .env_remove("XDG_CACHE_HOME")
        .uid(USER)
        .gid(USER)
        .status()
        .unwrap();
    assert!(passed.success());
}

/// In a container without rights there are no namespaces and no control groups, and files lie on an
/// overlay. The level `landlock` must isolate there, too.
#[test]
fn landlock_in_a_container_without_rights() {
    let docker = |arguments: &[&str]| {
        let output = Command::new("docker").args(arguments).output().ok();
        output.filter(|output| output.status.success())
    };
    if docker(&["version"]).is_none() {
        let required = std::env::var("CELLBLOCK_REQUIRE_DOCKER").is_ok_and(|value| value == "1");
        assert!(!required, "there is no Docker engine, and CELLBLOCK_REQUIRE_DOCKER is 1");
        println!("skipped: no Docker engine");
        return;
    }
    // An image that contains only the mount points for this machine's files.
    let root = tempfile::tempdir().unwrap();
    for directory in ["usr", "etc", "proc", "dev", "sys", "tmp"] {
        fs::create_dir(root.path().join(directory)).unwrap();
    }
    let shared = fs::Permissions::from_mode(0o1777);
    fs::set_permissions(root.path().join("tmp"), shared).unwrap();
    for name in ["bin", "sbin", "lib", "lib64"] {
        std::os::unix::fs::symlink(format!("usr/{name}"), root.path().join(name)).unwrap();
    }
    let archive = root.path().with_extension("tar");
    let mut pack = Command::new("tar");
    pack.arg("-cf").arg(&archive).arg("-C").arg(root.path()).arg(".");
    assert!(pack.status().unwrap().success());
    let image = format!("cellblock-contained:{}", std::process::id());
    let imported = docker(&["import", archive.to_str().unwrap(), &image]).is_some();
    fs::remove_file(&archive).unwrap();
    assert!(imported, "the image cannot be made");
    let program = format!("{}:/it:ro", std::env::current_exe().unwrap().display());
    // An ordinary user, and root with the rights that an engine leaves it.
    let passed = ["54321:54321", "0:0"].map(|user| {
        let passed = Command::new("docker")
            .args(["run", "--rm", "--network", "none", "--user", user])
            .args(["--env", "HOME=/tmp", "--env", "CELLBLOCK_TEST_CONTAINED=1"])
            .args(["--env", "CARGO_MANIFEST_DIR=/", "--volume", "/usr:/usr:ro"])
            .args(["--volume", "/etc/ld.so.cache:/etc/ld.so.cache:ro", "--volume", &program])
            .args([&image, "/it", "--test-threads", "4", "--skip", "packages_are_not_poisoned"])
            // An overlay that is a program of its own would be too slow for this.
            .args(["--skip", "a_hundred_thousand_files"])
            .args(["attacks::", "conformance::landlock::limits", "conformance::landlock::work"])
            .args(["conformance::landlock::processes", "levels::", "remains::closing"])
            .status();
        passed.is_ok_and(|status| status.success())
    });
    let removed = docker(&["rmi", &image]).is_some();
    assert_eq!(passed, [true, true]);
    assert!(removed);
}
