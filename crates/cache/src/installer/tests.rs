//! Finding an installer, calling it, and telling what it said.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::{Fit, Installer, Installers, Job, last_words};
use crate::{interpreter::Interpreter, rerun};

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

const NONE: &str = "installer::tests::none_is_found_where_there_is_none";

#[tokio::test]
async fn none_is_found_where_there_is_none() {
    if rerun::inside() {
        assert_eq!(Installer::find_all().await, []);
        let mut installers = Installers::new(Fit::Pure("3.13"));
        assert_eq!(installers.next().await, None);
        let error = installers.error("humanize").to_string();
        assert!(
            error.contains("humanize") && error.contains("pip") && error.contains("uv"),
            "{error}"
        );
        assert!(error.contains("install one of them"), "{error}");
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

const BEST: &str = "installer::tests::the_best_is_found_first_and_pip_once";

#[tokio::test]
async fn the_best_is_found_first_and_pip_once() {
    if rerun::inside() {
        let names: Vec<String> =
            Installer::find_all().await.iter().map(|found| format!("{found:?}")).collect();
        assert_eq!(names, ["Uv(\"uv\")", "Pip(\"pip3\", [])"]);
        // All that fail are named, each kind once.
        let mut installers = Installers::new(Fit::Pure("3.13"));
        while let Some(installer) = installers.next().await {
            installers.failed(&installer, &format!("no {}", installer.name()));
        }
        assert_eq!(installers.error("x").to_string(), "cannot install x: uv: no uv; pip: no pip");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    // A Python without pip.
    for (program, body) in
        [("uv", "exit 0"), ("python3", "exit 1"), ("pip3", "exit 0"), ("pip", "exit 0")]
    {
        script(directory.path(), program, body);
    }
    let path = directory.path().display().to_string();
    rerun::assert_passed(&rerun::again(BEST, &[], &[("PATH", &path)]).unwrap());
}

/// An interpreter that is nowhere.
fn interpreter(path: &Path) -> Interpreter {
    Interpreter {
        path: path.to_owned(),
        version: "3.11.2".to_owned(),
        platform: "cpython-311".to_owned(),
    }
}

#[tokio::test]
async fn an_installer_is_asked_for_wheels_only_that_fit() {
    let directory = tempfile::tempdir().unwrap();
    let said = directory.path().join("said");
    let program =
        script(directory.path(), "tool", &format!("echo \"$(pwd) $@\" > {}", said.display()));
    let target = directory.path().join("target");
    let requirements = directory.path().join("requirements.txt");
    let (own, other) = (interpreter(&program), interpreter(Path::new("/opt/python")));
    let (uv, pip) =
        (Installer::Uv(program.clone()), Installer::Pip(program.clone(), &["-m", "pip"]));
    for (installer, fit, expected, unexpected) in [
        (
            &uv,
            Fit::Pure("3.15"),
            &["pip install", "--no-build", "--python-version 3.15"][..],
            "--python ",
        ),
        (
            &uv,
            Fit::Interpreter(&other),
            &["pip install", "--no-build", "--python /opt/python"],
            "--python-version",
        ),
        (
            &pip,
            Fit::Pure("3.15"),
            &[
                "-m pip install",
                "--only-binary=:all:",
                "--python-version 3.15",
                "--abi=none",
                "--platform=any",
            ],
            "--python ",
        ),
        (
            &pip,
            Fit::Interpreter(&other),
            &["-m pip --python /opt/python install", "--only-binary=:all:"],
            "--abi",
        ),
        (&pip, Fit::Interpreter(&own), &["-m pip install", "--only-binary=:all:"], "--python"),
    ] {
        let job =
            Job { target: &target, fit, requirements: &requirements, arguments: &["--no-deps"] };
        installer.install(&job).await.unwrap();
        let said = std::fs::read_to_string(&said).unwrap();
        // In the root directory, where no model's files are.
        assert!(said.starts_with("/ ") && !said.contains(unexpected), "{said}");
        let target = format!("--target {}", target.display());
        for expected in expected.iter().copied().chain(["--no-deps", &target]) {
            assert!(said.contains(expected), "{said}");
        }
    }
    let job = Job {
        target: &target,
        fit: Fit::Pure("3.15"),
        requirements: &requirements,
        arguments: &[],
    };
    script(directory.path(), "tool", "echo 'ERROR: no such package' >&2; exit 1");
    assert_eq!(uv.install(&job).await, Err("no such package".to_owned()));
    script(directory.path(), "tool", "exit 4");
    assert_eq!(uv.install(&job).await, Err("uv ended with exit status: 4".to_owned()));
    let missing = Installer::Uv(directory.path().join("missing")).install(&job).await.unwrap_err();
    assert!(missing.starts_with("uv did not start"), "{missing}");
}

const MODEL: &str = "installer::tests::a_file_that_a_model_wrote_is_not_run";

#[tokio::test]
async fn a_file_that_a_model_wrote_is_not_run() {
    if rerun::inside() {
        let found = Installer::find_all().await;
        assert!(found.iter().any(|installer| installer.name() == "pip"), "{found:?}");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let mark = directory.path().join("run");
    for module in ["pip.py", "random.py"] {
        let program = format!("open({:?}, 'w')", mark.display().to_string());
        std::fs::write(directory.path().join(module), program).unwrap();
    }
    // Started in that directory, Python does run it.
    let control = std::process::Command::new("python3")
        .args(["-m", "pip"])
        .current_dir(directory.path())
        .status();
    assert!(control.unwrap().success() && mark.exists());
    std::fs::remove_file(&mark).unwrap();
    let wrapper = ["env", "-C", &directory.path().display().to_string()];
    rerun::assert_passed(&rerun::again(MODEL, &wrapper, &[]).unwrap());
    assert!(!mark.exists());
}

#[tokio::test]
async fn who_no_longer_wants_the_packages_ends_the_installer_and_what_it_started() {
    let directory = tempfile::tempdir().unwrap();
    let alive = directory.path().join("alive");
    let body = format!("(while true; do date > {}; sleep 0.02; done) & wait", alive.display());
    let installer = Installer::Uv(script(directory.path(), "tool", &body));
    let job = Job { target: &alive, fit: Fit::Pure("3.15"), requirements: &alive, arguments: &[] };
    assert!(
        tokio::time::timeout(Duration::from_millis(500), installer.install(&job)).await.is_err()
    );
    assert!(alive.exists());
    // One that was just being written is let be.
    tokio::time::sleep(Duration::from_millis(100)).await;
    std::fs::remove_file(&alive).unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!alive.exists());
}

/// A shell script in `directory`.
fn script(directory: &Path, name: &str, body: &str) -> PathBuf {
    let path = directory.join(name);
    let text = directory.join("script");
    std::fs::write(&text, format!("#!/bin/sh\n{body}\n")).unwrap();
    // Another process makes the program: if this one had it open for writing, a process that another test starts at that
    // moment would hold it open too, and the system starts no program that is being written.
    let made =
        std::process::Command::new("install").arg("-m755").arg(&text).arg(&path).status().unwrap();
    assert!(made.success());
    path
}
