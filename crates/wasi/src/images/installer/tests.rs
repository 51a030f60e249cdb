//! Finding an installer, and telling what it said.

use std::os::unix::fs::PermissionsExt;

use super::{Installer, Job, last_words, none_found};
use crate::rerun;

#[test]
fn the_last_words_are_the_errors() {
    let many: String = (0..20).map(|n| format!("ERROR: number {n}\n")).collect();
    let cases = [
        ("", ""),
        ("\n\n  \n", ""),
        ("one\ntwo\n", "one; two"),
        ("1\n2\n3\n4\n5\n6\n7\n8\n", "3; 4; 5; 6; 7; 8"),
        (
            "WARNING: old pip\nERROR: Could not find a version\nhint: try another\nERROR: No matching distribution\n",
            "Could not find a version; No matching distribution",
        ),
        ("error: no such thing\r\n  caused by: nothing\r\n", "no such thing"),
        ("note: ERROR: in the middle of a line", "note: ERROR: in the middle of a line"),
        (&many, "number 14; number 15; number 16; number 17; number 18; number 19"),
    ];
    for (output, expected) in cases {
        assert_eq!(last_words(output), expected, "{output:?}");
    }
}

#[test]
fn without_an_installer_the_error_says_what_to_do() {
    let error = none_found("humanize").to_string();
    assert!(error.contains("humanize") && error.contains("pip") && error.contains("uv"), "{error}");
    assert!(error.contains("install one of them"), "{error}");
}

const NONE: &str = "images::installer::tests::none_is_found_where_there_is_none";

#[tokio::test]
async fn none_is_found_where_there_is_none() {
    if rerun::inside() {
        assert_eq!(Installer::find_all().await, []);
        return;
    }
    let empty = tempfile::tempdir().unwrap();
    let path = empty.path().display().to_string();
    rerun::assert_passed(&rerun::again(NONE, &[], &[("PATH", &path)]).unwrap());
    // Programs that are there and do not work are not installers either.
    for program in ["uv", "python3", "pip3", "pip", "python"] {
        script(empty.path(), program, "exit 1");
    }
    rerun::assert_passed(&rerun::again(NONE, &[], &[("PATH", &path)]).unwrap());
}

const BEST: &str = "images::installer::tests::the_best_is_found_first_and_pip_once";

#[tokio::test]
async fn the_best_is_found_first_and_pip_once() {
    if rerun::inside() {
        let names: Vec<String> = Installer::find_all().await.iter().map(|found| format!("{found:?}")).collect();
        assert_eq!(names, ["Uv(\"uv\")", "Pip(\"pip3\", [])"]);
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    // A Python without pip.
    for (program, body) in [("uv", "exit 0"), ("python3", "exit 1"), ("pip3", "exit 0"), ("pip", "exit 0")] {
        script(directory.path(), program, body);
    }
    let path = directory.path().display().to_string();
    rerun::assert_passed(&rerun::again(BEST, &[], &[("PATH", &path)]).unwrap());
}

#[tokio::test]
async fn an_installer_is_asked_for_wheels_only() {
    let directory = tempfile::tempdir().unwrap();
    let said = directory.path().join("said");
    let program = script(directory.path(), "tool", &format!("echo \"$@\" > {}", said.display()));
    let target = directory.path().join("target");
    let requirements = directory.path().join("requirements.txt");
    let job = Job { target: &target, python: "3.15", requirements: &requirements, arguments: &["--no-deps"] };
    for (installer, wheels_only) in [
        (Installer::Uv(program.clone()), "--no-build"),
        (Installer::Pip(program.clone(), &["-m", "pip"]), "--only-binary=:all:"),
    ] {
        installer.install(&job).await.unwrap();
        let said = std::fs::read_to_string(&said).unwrap();
        for expected in [wheels_only, "--no-deps", "--python-version 3.15", &target.display().to_string()] {
            assert!(said.contains(expected), "{said}");
        }
    }
    script(directory.path(), "tool", "echo 'ERROR: no such package' >&2; exit 1");
    assert_eq!(Installer::Uv(program).install(&job).await, Err("no such package".to_owned()));
    let missing = Installer::Uv(directory.path().join("missing")).install(&job).await.unwrap_err();
    assert!(missing.starts_with("uv did not start"), "{missing}");
}

/// A shell script in `directory`.
fn script(directory: &std::path::Path, name: &str, body: &str) -> std::path::PathBuf {
    let path = directory.join(name);
    // Written elsewhere and moved, so that it is never open for writing when it is started.
    let temporary = directory.join("script");
    std::fs::write(&temporary, format!("#!/bin/sh\n{body}\n")).unwrap();
    std::fs::set_permissions(&temporary, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::rename(&temporary, &path).unwrap();
    path
}
