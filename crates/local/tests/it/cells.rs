//! Cells for the other tests: the levels that work here, and runs of one block at a level.

use std::{fs, os::unix::fs::PermissionsExt};

use cellblock_exec::{ExecutionRequest, ExecutionResult, Executor, Isolation, SessionSpec};
use cellblock_local::{LocalExecutor, Options};

/// Returns the levels with isolation; in a container without rights, only the one that works there.
pub fn walls() -> Vec<Isolation> {
    levels().into_iter().filter(|level| *level != Isolation::None).collect()
}

/// Returns the levels that work where these tests run.
pub fn levels() -> Vec<Isolation> {
    let all = [Isolation::Namespaces, Isolation::Landlock, Isolation::None];
    let contained = is_contained();
    all.into_iter().filter(|level| !contained || *level != Isolation::Namespaces).collect()
}

/// True if these tests run in a container without rights.
pub fn is_contained() -> bool {
    std::env::var_os("CELLBLOCK_TEST_CONTAINED").is_some()
}

/// True if these tests run as root, so that programs run as another user.
pub fn is_root() -> bool {
    nix::unistd::Uid::effective().is_root()
}

/// Returns the default options with this level.
pub fn at(isolation: Isolation) -> Options {
    Options { isolation: Some(isolation), ..Options::default() }
}

/// Starts an executor of this level.
pub async fn executor(isolation: Isolation) -> LocalExecutor {
    LocalExecutor::start(at(isolation)).await.unwrap()
}

/// Runs a block in a session of its own.
pub async fn run(isolation: Isolation, code: &str) -> ExecutionResult {
    run_with(at(isolation), SessionSpec::default(), code).await
}

/// Runs a block in a session of its own, of an executor with these options.
pub async fn run_with(options: Options, spec: SessionSpec, code: &str) -> ExecutionResult {
    let executor = LocalExecutor::start(options).await.unwrap();
    let mut session = executor.open(spec).await.unwrap();
    let result = session.execute(ExecutionRequest::python(code)).await.unwrap();
    session.close().await.unwrap();
    result
}

/// Runs a block that must succeed. Returns its output.
pub async fn output(isolation: Isolation, code: &str) -> String {
    let result = run(isolation, code).await;
    let stderr = result.stderr.text();
    assert!(result.outcome.is_success(), "{isolation}: {:?} {stderr}", result.outcome);
    result.stdout.text()
}

/// Makes a directory that every user can read.
pub fn open_directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    directory
}
