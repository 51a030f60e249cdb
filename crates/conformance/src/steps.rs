//! The steps of cases: open a session, run Python, check the result.

use std::{sync::Arc, time::Duration};

use cellblock_exec::{
    Artifact, Capabilities, ExecutionRequest, ExecutionResult, Executor, InputFile, Limit, Limits,
    Outcome, Session, SessionSpec,
};

/// The wall time of cases: more than any program of the suite needs on a busy machine, and short
/// enough to notice a hang.
const PATIENCE: Duration = Duration::from_secs(60);

/// Returns the default limits with [`PATIENCE`] of wall time, and without the limits that the
/// executor does not claim.
pub fn limits(executor: &dyn Executor) -> Limits {
    let mut limits = Limits { wall: PATIENCE, ..Limits::default() };
    for limit in unclaimed(executor.capabilities()) {
        match limit {
            Limit::Wall => limits.wall = Duration::MAX,
            Limit::Cpu => limits.cpu = None,
            Limit::Memory => limits.memory = u64::MAX,
            Limit::Output => limits.output = u64::MAX,
            Limit::Disk => limits.disk = u64::MAX,
            Limit::Files => limits.files = u32::MAX,
            Limit::Processes => limits.processes = u32::MAX,
        }
    }
    limits
}

/// Returns the limits that the executor does not enforce.
pub fn unclaimed(capabilities: &Capabilities) -> Vec<Limit> {
    Limit::ALL.into_iter().filter(|limit| !capabilities.limits.contains(limit)).collect()
}

/// Returns true if the executor enforces `limit`. If not, asserts that it refuses a session `with`
/// that limit, so that no case is skipped silently.
pub async fn enforces(executor: &dyn Executor, limit: Limit, with: &Limits) -> bool {
    if executor.capabilities().limits.contains(&limit) {
        return true;
    }
    let spec = SessionSpec { limits: with.clone(), ..SessionSpec::default() };
    match executor.open(spec).await {
        Err(cellblock_exec::Error::Unsupported(_)) => false,
        Err(error) => panic!(
            "a session with a limit on {limit}, which is not enforced, failed otherwise: {error}"
        ),
        Ok(_) => panic!("a session with a limit on {limit}, which is not enforced, was opened"),
    }
}

/// Opens a session with [`limits`].
pub async fn open(executor: &dyn Executor) -> Box<dyn Session> {
    open_with(executor, limits(executor)).await
}

/// Opens a session with these limits.
pub async fn open_with(executor: &dyn Executor, limits: Limits) -> Box<dyn Session> {
    open_spec(executor, SessionSpec { limits, ..SessionSpec::default() }).await
}

/// Opens a session with these files in its workspace.
pub async fn open_files(executor: &dyn Executor, files: Vec<InputFile>) -> Box<dyn Session> {
    open_spec(executor, SessionSpec { limits: limits(executor), files, ..SessionSpec::default() })
        .await
}

/// Opens a session with this specification.
pub async fn open_spec(executor: &dyn Executor, spec: SessionSpec) -> Box<dyn Session> {
    match executor.open(spec).await {
        Ok(session) => session,
        Err(error) => panic!("cannot open a session: {error:?}"),
    }
}

/// Creates an input file.
pub fn file(path: &str, content: impl AsRef<[u8]>) -> InputFile {
    InputFile { path: path.into(), content: Arc::new(content.as_ref().to_vec()) }
}

/// Runs Python code, and checks the invariants of every result.
pub async fn run(session: &mut dyn Session, code: &str) -> ExecutionResult {
    run_request(session, ExecutionRequest::python(code)).await
}

/// Runs a request, and checks the invariants of every result.
pub async fn run_request(session: &mut dyn Session, request: ExecutionRequest) -> ExecutionResult {
    match session.execute(request).await {
        Ok(result) => {
            for artifact in &result.artifacts {
                assert_eq!(
                    artifact.bytes,
                    artifact.content.len() as u64,
                    "size of the artifact {}",
                    artifact.path
                );
                let inside = !artifact.path.starts_with('/')
                    && artifact.path.split('/').all(|part| part != "..");
                assert!(inside, "an artifact outside the workspace: {}", artifact.path);
            }
            result
        }
        Err(error) => panic!("the sandbox failed: {error:?}"),
    }
}

/// Runs Python code that must exit with 0. Returns its standard output.
pub async fn succeed(session: &mut dyn Session, code: &str) -> String {
    let result = run(session, code).await;
    assert_outcome(&result, &Outcome::Exited { code: 0 });
    result.stdout.text()
}

/// Runs Python code in a session of its own.
pub async fn run_fresh(executor: &dyn Executor, code: &str) -> ExecutionResult {
    run(open(executor).await.as_mut(), code).await
}

/// Asserts the outcome of a program; shows its output if it is another.
#[track_caller]
pub fn assert_outcome(result: &ExecutionResult, expected: &Outcome) {
    assert_eq!(
        &result.outcome,
        expected,
        "\nstdout: {}\nstderr: {}",
        shortened(&result.stdout.text()),
        shortened(&result.stderr.text())
    );
}

/// Asserts that a limit stopped the program.
#[track_caller]
pub fn assert_limited(result: &ExecutionResult, limit: Limit) {
    assert_outcome(result, &Outcome::LimitExceeded { limit });
}

/// Returns the end of a text, where a traceback names its error.
fn shortened(text: &str) -> String {
    let skip = text.chars().count().saturating_sub(2000);
    text.chars().skip(skip).collect()
}

/// Returns the artifact at `path`.
#[track_caller]
pub fn artifact<'a>(result: &'a ExecutionResult, path: &str) -> &'a Artifact {
    match result.artifacts.iter().find(|artifact| artifact.path == path) {
        Some(artifact) => artifact,
        None => panic!(
            "no artifact {path} among {:?}; refused: {:?}",
            artifact_paths(result),
            result.refused
        ),
    }
}

/// Returns the paths of all artifacts, in order.
pub fn artifact_paths(result: &ExecutionResult) -> Vec<&str> {
    let mut paths: Vec<_> =
        result.artifacts.iter().map(|artifact| artifact.path.as_str()).collect();
    paths.sort_unstable();
    paths
}

/// Asserts that the executor still works: a new session computes the right sum.
pub async fn assert_sound(executor: &dyn Executor) {
    let mut session = open(executor).await;
    assert_eq!(succeed(session.as_mut(), "print(sum(range(10)))").await, "45\n");
}
