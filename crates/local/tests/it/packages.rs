//! Tests of packages in local sessions, from the real index.

use cellblock_exec::{Error, ExecutionRequest, Executor, Isolation, Session, SessionSpec};
use cellblock_local::{LocalExecutor, Options};

async fn executor(options: Options) -> LocalExecutor {
    LocalExecutor::start(options).await.unwrap()
}

async fn output(session: &mut Box<dyn Session>, code: &str) -> String {
    let result = session.execute(ExecutionRequest::python(code)).await.unwrap();
    assert!(result.outcome.is_success(), "{code}: {result:?}");
    result.stdout.text()
}

/// Uses a package in the live interpreter, and in one that it starts.
const USE: &str = "import humanize, subprocess, sys
print(humanize.intcomma(1234567))
code = 'import humanize; print(humanize.intcomma(7654321))'
command = [sys.executable, '-c', code]
print(subprocess.run(command, capture_output=True, text=True).stdout, end='')";

/// At each level, the live interpreter and the programs that it starts can import a package. The
/// session keeps its variables, nobody can write to the package, and the next session does not have
/// it.
#[tokio::test]
async fn a_session_installs_for_itself() {
    for isolation in [Isolation::Namespaces, Isolation::Landlock, Isolation::None] {
        let executor = executor(Options { isolation: Some(isolation), ..Options::default() }).await;
        let mut session = executor.open(SessionSpec::default()).await.unwrap();
        output(&mut session, "x = 1").await;
        let report = session.install(&["humanize".parse().unwrap()]).await.unwrap();
        assert!(report.installed.iter().any(|new| new.starts_with("humanize==")), "{report:?}");
        assert_eq!(output(&mut session, USE).await, "1,234,567\n7,654,321\n");
        assert_eq!(output(&mut session, "print(x)").await, "1\n");
        // The one that is installed already is not reported again.
        let report = session
            .install(&["humanize".parse().unwrap(), "inflection".parse().unwrap()])
            .await
            .unwrap();
        assert!(report.installed.iter().all(|new| new.starts_with("inflection==")), "{report:?}");
        assert_eq!(report.installed.len(), 1, "{report:?}");
        assert_eq!(
            output(&mut session, "import inflection; print(inflection.pluralize('cell'))").await,
            "cells\n"
        );
        if isolation != Isolation::None {
            let code = "import os, humanize
try:
    open(humanize.__file__, 'a').write('x')
    print('written')
except OSError: print('refused')
open('control.txt', 'a').close()";
            assert_eq!(output(&mut session, code).await, "refused\n");
        }
        session.close().await.unwrap();
        let mut other = executor.open(SessionSpec::default()).await.unwrap();
        let result = other.execute(ExecutionRequest::python("import humanize")).await.unwrap();
        assert!(result.stderr.text().contains("ModuleNotFoundError"), "{result:?}");
    }
}

/// Later sessions and executors have the packages of a persistent environment.
#[tokio::test]
async fn an_environment_is_persistent() {
    let cache = tempfile::tempdir().unwrap();
    let options = || Options {
        environment: Some("charts".to_owned()),
        cache: Some(cache.path().to_owned()),
        ..Options::default()
    };
    let mut session = executor(options()).await.open(SessionSpec::default()).await.unwrap();
    session.install(&["humanize".parse().unwrap()]).await.unwrap();
    session.close().await.unwrap();
    let mut session = executor(options()).await.open(SessionSpec::default()).await.unwrap();
    assert_eq!(output(&mut session, USE).await, "1,234,567\n7,654,321\n");
    let report = session.install(&["humanize".parse().unwrap()]).await.unwrap();
    assert!(report.installed.is_empty(), "{report:?}");
}

/// A package with native code works.
#[tokio::test]
async fn native_wheels_work() {
    let mut session =
        executor(Options::default()).await.open(SessionSpec::default()).await.unwrap();
    session.install(&["numpy".parse().unwrap()]).await.unwrap();
    let code = "import numpy as np
print(int(np.arange(100_000).sum()), np.linalg.inv(np.eye(2)).tolist())";
    assert_eq!(output(&mut session, code).await, "4999950000 [[1.0, 0.0], [0.0, 1.0]]\n");
}

#[tokio::test]
async fn a_missing_package_is_an_error() {
    let mut session =
        executor(Options::default()).await.open(SessionSpec::default()).await.unwrap();
    match session.install(&["no-such-package-of-cellblock-tests".parse().unwrap()]).await {
        Err(Error::Install { packages, why }) => {
            assert!(packages.contains("no-such-package") && !why.is_empty(), "{packages}: {why}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(output(&mut session, "print('on')").await, "on\n");
    assert!(matches!(session.install(&[]).await, Ok(report) if report.installed.is_empty()));
}

/// A virtual environment of the user can be used, and is not changed.
#[tokio::test]
async fn a_virtual_environment_is_read_only() {
    let directory = tempfile::tempdir().unwrap();
    // Programs run as another user, who must be able to read the directory.
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(directory.path(), open).unwrap();
    let venv = directory.path().join("venv");
    let made = std::process::Command::new("/usr/bin/python3")
        .args(["-m", "venv", "--without-pip"])
        .arg(&venv)
        .output()
        .unwrap();
    if !made.status.success() {
        // Debian without python3-venv: make the layout of PEP 405.
        std::fs::create_dir_all(venv.join("bin")).unwrap();
        std::fs::create_dir_all(venv.join("lib/python3.11/site-packages")).unwrap();
        std::fs::write(
            venv.join("pyvenv.cfg"),
            "home = /usr/bin\ninclude-system-site-packages = false\n",
        )
        .unwrap();
        std::os::unix::fs::symlink("/usr/bin/python3", venv.join("bin/python3")).unwrap();
    }
    let library = std::fs::read_dir(venv.join("lib")).unwrap().next().unwrap().unwrap().path();
    let module = library.join("site-packages/mine.py");
    std::fs::write(&module, "value = 42\n").unwrap();
    let executor = executor(Options { venv: Some(venv), ..Options::default() }).await;
    let mut session = executor.open(SessionSpec::default()).await.unwrap();
    let code = "import mine
print(mine.value)
try:
    open(mine.__file__, 'w').close()
    print('written')
except OSError: print('refused')";
    assert_eq!(output(&mut session, code).await, "42\nrefused\n");
    assert_eq!(std::fs::read_to_string(&module).unwrap(), "value = 42\n");
    assert!(matches!(
        session.install(&["humanize".parse().unwrap()]).await,
        Err(Error::Install { .. })
    ));
    let options = Options { venv: Some("/nowhere/at/all".into()), ..Options::default() };
    assert!(LocalExecutor::start(options).await.is_err());
}
