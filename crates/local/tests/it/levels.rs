//! Tests of the levels, checks and options.

use std::path::PathBuf;

use cellblock_exec::{Error, Executor, Isolation, Limits, SessionSpec};
use cellblock_local::{LocalExecutor, Options};

use super::cells::{at, executor, levels};

#[tokio::test]
async fn checks_agree_with_the_executor() {
    let checks = cellblock_local::checks().await;
    let found = |name: &str| {
        checks.iter().find(|check| check.name == name).unwrap_or_else(|| panic!("{checks:?}"))
    };
    let executor = LocalExecutor::start(Options::default()).await.unwrap();
    let level = executor.capabilities().isolation;
    assert_eq!(found("level").found, level.to_string());
    assert!(found(&level.to_string()).ok);
    let python = executor.python();
    assert_eq!(
        found("python").found,
        format!("{} {}", python.version_text(), python.program.display())
    );
    for name in [
        "namespaces",
        "landlock",
        "limit on memory",
        "limit on processes",
        "limit on cpu",
        "other languages",
    ] {
        let check = found(name);
        assert!(check.executor == "local" && !check.found.is_empty(), "{check:?}");
        assert!(check.ok || check.hint.is_some(), "{check:?}");
    }
}

#[tokio::test]
async fn a_named_level_is_used_or_refused() {
    for level in levels() {
        let executor = executor(level).await;
        assert_eq!(executor.capabilities().isolation, level);
    }
    for level in [Isolation::Wasm, Isolation::Container] {
        let refused = LocalExecutor::start(at(level)).await;
        assert!(matches!(refused, Err(Error::Unsupported(_))), "{refused:?}");
    }
}

#[tokio::test]
async fn invalid_options_are_refused() {
    let start = |options| async { LocalExecutor::start(options).await.map(drop) };
    let python = |path: &str| Options { python: Some(PathBuf::from(path)), ..Options::default() };
    for options in [
        python("/nonexistent/python3"),
        python("/usr/bin/env/nothing"),
        Options { venv: Some(PathBuf::from("/usr/share")), ..Options::default() },
        Options {
            venv: Some(PathBuf::from("/usr")),
            python: Some("/usr/bin/python3".into()),
            ..Options::default()
        },
    ] {
        let told = format!("{options:?}");
        assert!(matches!(start(options).await, Err(Error::Invalid { .. })), "{told}");
    }
    let executor = LocalExecutor::start(Options::default()).await.unwrap();
    let open = |limits| executor.open(SessionSpec { limits, ..SessionSpec::default() });
    let no_time = Limits { cpu: Some(std::time::Duration::ZERO), ..Limits::default() };
    assert!(matches!(open(no_time).await, Err(Error::Invalid { .. })));
    let unlimited = Limits {
        wall: std::time::Duration::MAX,
        cpu: None,
        memory: u64::MAX,
        output: u64::MAX,
        disk: u64::MAX,
        files: u32::MAX,
        processes: u32::MAX,
    };
    open(unlimited).await.unwrap().close().await.unwrap();
}
