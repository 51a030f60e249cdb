//! Finding an installer, calling it, and reporting its output.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use cellblock_rerun::{assert_passed, inside, rerun};

use super::{Installer, WheelRequest, WheelTarget, error_lines, install_wheels};
use crate::interpreter::Interpreter;

#[test]
fn an_error_is_the_error_lines_or_the_last_lines() {
    let many: String = (0..20).map(|n| format!("ERROR: number {n}\n")).collect();
    let cases = [
        ("", ""),
        ("\n\n  \n", ""),
        ("one\ntwo\n", "one; two"),
        ("1\n2\n3\n4\n5\n6\n7\n8\n", "3; 4; 5; 6; 7; 8"),
        (
            "WARNING: old pip\nERROR: Could not find a version\nhint: try another\n\
             ERROR: No matching distribution\n",
            "Could not find a version; No matching distribution",
        ),
        ("error: no such thing\r\n  caused by: nothing\r\n", "no such thing"),
        ("note: ERROR: in the middle of a line", "note: ERROR: in the middle of a line"),
        (&many, "number 14; number 15; number 16; number 17; number 18; number 19"),
    ];
    for (output, expected) in cases {
        assert_eq!(error_lines(output), expected, "{output:?}");
    }
}

const NONE: &str = "installer::tests::none_is_found_where_there_is_none";

#[tokio::test]
async fn none_is_found_where_there_is_none() {
    if inside() {
        assert_eq!(Installer::find_all().await, []);
        let work = tempfile::tempdir().unwrap();
        let error = install_wheels(work.path(), request("humanize")).await.unwrap_err();
        let error = error.to_string();
        assert!(
            error.contains("humanize") && error.contains("pip") && error.contains("uv"),
            "{error}"
        );
        assert!(error.contains("install one of them"), "{error}");
        return;
    }
    let empty = tempfile::tempdir().unwrap();
    let path = empty.path().display().to_string();
    assert_passed(&rerun(NONE, &[], &[("PATH", &path)]).unwrap());
    // Programs that exist but do not work are not installers either.
    for program in ["uv", "python3", "pip3", "pip", "python"] {
        script(empty.path(), program, "exit 1");
    }
    assert_passed(&rerun(NONE, &[], &[("PATH", &path)]).unwrap());
}

const BEST: &str = "installer::tests::the_best_is_found_first_and_pip_once";

#[tokio::test]
async fn the_best_is_found_first_and_pip_once() {
    if inside() {
        let names: Vec<String> =
            Installer::find_all().await.iter().map(|found| format!("{found:?}")).collect();
        assert_eq!(names, ["Uv(\"uv\")", "Pip(\"pip3\", [])"]);
        // The error names all that failed, each kind once.
        let work = tempfile::tempdir().unwrap();
        let error = install_wheels(work.path(), request("x")).await.unwrap_err();
        assert_eq!(error.to_string(), "cannot install x: uv: no uv; pip: no pip3");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    // A Python without pip.
    script(directory.path(), "python3", "exit 1");
    for program in ["uv", "pip3", "pip"] {
        let body = format!("[ \"$1\" = --version ] && exit 0; echo 'no {program}' >&2; exit 1");
        script(directory.path(), program, &body);
    }
    let path = directory.path().display().to_string();
    assert_passed(&rerun(BEST, &[], &[("PATH", &path)]).unwrap());
}

/// Pure Python packages without any checks.
fn request(packages: &str) -> WheelRequest<'_> {
    WheelRequest {
        packages,
        requirements: &[],
        target: WheelTarget::PurePython("3.13"),
        arguments: &[],
        check: |_| Ok(()),
        progress: None,
    }
}

/// An interpreter that need not exist.
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
    let into = directory.path().join("target");
    let requirements = directory.path().join("requirements.txt");
    let (own, other) = (interpreter(&program), interpreter(Path::new("/opt/python")));
    let (uv, pip) =
        (Installer::Uv(program.clone()), Installer::Pip(program.clone(), &["-m", "pip"]));
    for (installer, target, expected, unexpected) in [
        (
            &uv,
            WheelTarget::PurePython("3.15"),
            &["pip install", "--no-build", "--python-version 3.15"][..],
            "--python ",
        ),
        (
            &uv,
            WheelTarget::Interpreter(&other),
            &["pip install", "--no-build", "--python /opt/python"],
            "--python-version",
        ),
        (
            &pip,
            WheelTarget::PurePython("3.15"),
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
            WheelTarget::Interpreter(&other),
            &["-m pip --python /opt/python install", "--only-binary=:all:"],
            "--abi",
        ),
        (
            &pip,
            WheelTarget::Interpreter(&own),
            &["-m pip install", "--only-binary=:all:"],
            "--python",
        ),
    ] {
        let request = WheelRequest { target, arguments: &["--no-deps"], ..request("x") };
        installer.install(&request, &requirements, &into).await.unwrap();
        let said = std::fs::read_to_string(&said).unwrap();
        // In the root directory, where no model's files are.
        assert!(said.starts_with("/ ") && !said.contains(unexpected), "{said}");
        let into = format!("--target {}", into.display());
        for expected in expected.iter().copied().chain(["--no-deps", &into]) {
            assert!(said.contains(expected), "{said}");
        }
    }
    let request = request("x");
    let install =
        async |installer: &Installer| installer.install(&request, &requirements, &into).await;
    script(directory.path(), "tool", "echo 'ERROR: no such package' >&2; exit 1");
    assert_eq!(install(&uv).await, Err("no such package".to_owned()));
    script(directory.path(), "tool", "exit 4");
    assert_eq!(install(&uv).await, Err("uv ended with exit status: 4".to_owned()));
    let missing = install(&Installer::Uv(directory.path().join("missing"))).await.unwrap_err();
    assert!(missing.starts_with("uv did not start"), "{missing}");
}

const MODEL: &str = "installer::tests::a_file_that_a_model_wrote_is_not_run";

#[tokio::test]
async fn a_file_that_a_model_wrote_is_not_run() {
    if inside() {
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
    assert_passed(&rerun(MODEL, &wrapper, &[]).unwrap());
    assert!(!mark.exists());
}

#[tokio::test]
async fn a_dropped_installation_kills_the_installer_and_its_processes() {
    let directory = tempfile::tempdir().unwrap();
    let alive = directory.path().join("alive");
    let body = format!("(while true; do date > {}; sleep 0.02; done) & wait", alive.display());
    let installer = Installer::Uv(script(directory.path(), "tool", &body));
    let request = request("x");
    let install = installer.install(&request, &alive, &alive);
    assert!(tokio::time::timeout(Duration::from_millis(500), install).await.is_err());
    assert!(alive.exists());
    // Leaves time for a file that is being written.
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
    // Another process writes the program. If this process had it open for writing, a process that
    // another test starts at that moment would inherit the open file, and the system starts no
    // program that is open for writing.
    let made =
        std::process::Command::new("install").arg("-m755").arg(&text).arg(&path).status().unwrap();
    assert!(made.success());
    path
}
