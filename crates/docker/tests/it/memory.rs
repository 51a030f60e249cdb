//! The memory limit: for programs, for their input, and for the files that they leave.

use std::sync::Arc;

use cellblock_docker::DockerExecutor;
use cellblock_exec::{
    ExecutionRequest, ExecutionResult, Executor, InputFile, Language, Limit, Limits, Outcome,
    Session, SessionSpec, with_causes,
};

use crate::engine::{executor, succeed};

const MIB: usize = 1 << 20;

/// Opens a session with this many mebibytes of memory, and a larger disk limit.
async fn open(executor: &DockerExecutor, memory: u64) -> Box<dyn Session> {
    let limits = Limits { memory: memory << 20, disk: 1 << 30, ..Limits::default() };
    executor.open(SessionSpec { limits, ..SessionSpec::default() }).await.unwrap()
}

fn request(language: Language, code: String, stdin: usize) -> ExecutionRequest {
    ExecutionRequest {
        language,
        stdin: Arc::new(vec![b'x'; stdin * MIB]),
        ..ExecutionRequest::python(code)
    }
}

/// Asserts that a block met the memory limit.
#[track_caller]
fn assert_out_of_memory(result: &ExecutionResult, what: &str) {
    let expected = Outcome::LimitExceeded { limit: Limit::Memory };
    assert_eq!(result.outcome, expected, "{what}: {:?} {:?}", result.notes, result.stderr.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn input_that_does_not_fit_is_the_memory_limit() {
    let Some(executor) = executor().await else { return };
    let read = "import sys\nn = 0\n\
                while piece := sys.stdin.buffer.read(1 << 20): n += len(piece)\nprint(n)";
    let long = |mebibytes| format!("{}\nprint('ran')", "#\n".repeat(mebibytes * MIB / 2));
    let shell = |mebibytes| format!("{}\necho ran", ": \n".repeat(mebibytes * MIB / 3));
    for (what, fits, does_not, stdout) in [
        (
            "the input of Python",
            request(Language::PYTHON, read.into(), 20),
            request(Language::PYTHON, read.into(), 200),
            (20 * MIB).to_string(),
        ),
        (
            "the input of a shell",
            request(Language::BASH, "wc -c".into(), 30),
            request(Language::BASH, "wc -c".into(), 200),
            (30 * MIB).to_string(),
        ),
        (
            "the code of a shell",
            request(Language::BASH, shell(10), 0),
            request(Language::BASH, shell(200), 0),
            "ran".to_owned(),
        ),
        (
            "the code of Python",
            request(Language::PYTHON, long(1), 0),
            request(Language::PYTHON, long(200), 0),
            "ran".to_owned(),
        ),
        (
            "a file with code",
            ExecutionRequest {
                filename: Some("run.sh".into()),
                ..request(Language::BASH, shell(10), 0)
            },
            ExecutionRequest {
                filename: Some("run.sh".into()),
                ..request(Language::BASH, shell(200), 0)
            },
            "ran".to_owned(),
        ),
    ] {
        let mut session = open(&executor, 100).await;
        // The control: less of the same fits.
        let result = session.execute(fits).await.unwrap();
        assert_eq!(result.outcome, Outcome::Exited { code: 0 }, "{what}: {result:?}");
        assert_eq!(result.stdout.text().trim(), stdout, "{what}");
        let result = session.execute(does_not).await.unwrap();
        assert_out_of_memory(&result, what);
        assert!(result.state_lost, "{what}: {result:?}");
        session.close().await.unwrap();
    }
}

/// Variables and input that fit alone but not together: the interpreter is killed before it begins
/// with the block, which is not run in another one that lacks its variables.
#[tokio::test(flavor = "multi_thread")]
async fn input_beside_variables_is_the_memory_limit() {
    let Some(executor) = executor().await else { return };
    let mut session = open(&executor, 120).await;
    let fill = "kept = bytearray(60 << 20)\nfor at in range(0, len(kept), 4096): kept[at] = 1";
    succeed(session.as_mut(), fill).await;
    let code = "print(len(kept))".to_owned();
    let result = session.execute(request(Language::PYTHON, code.clone(), 1)).await.unwrap();
    assert_eq!(result.stdout.text(), format!("{}\n", 60 * MIB), "{result:?}");
    let result = session.execute(request(Language::PYTHON, code, 45)).await.unwrap();
    assert_out_of_memory(&result, "the sum");
    assert!(result.state_lost && result.stdout.text().is_empty(), "{result:?}");
    session.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_does_not_fit_is_reported() {
    let Some(executor) = executor().await else { return };
    let file = |mebibytes: usize| InputFile {
        path: "large.bin".into(),
        content: Arc::new(vec![b'x'; mebibytes * MIB]),
    };
    let mut session = open(&executor, 100).await;
    session.write_file(file(25)).await.unwrap();
    let error = with_causes(&session.write_file(file(200)).await.unwrap_err());
    assert!(error.contains("more memory than its limit"), "{error}");
    assert!(error.contains("open a new session"), "{error}");
}

/// Files of a program use memory, too, and a worker may be killed for them.
#[tokio::test(flavor = "multi_thread")]
async fn files_and_artifacts_that_do_not_fit_are_the_memory_limit() {
    let Some(executor) = executor().await else { return };
    let write = |mebibytes: usize| {
        format!(
            "for i in range({mebibytes} // 5):\n    \
             with open(f'{{i}}.bin', 'wb') as f: n = f.write(b'x' * (5 << 20))"
        )
    };
    let mut session = open(&executor, 150).await;
    let result = session.execute(ExecutionRequest::python(write(60))).await.unwrap();
    assert_eq!(result.outcome, Outcome::Exited { code: 0 }, "{:?}", result.notes);
    assert_eq!(result.artifacts.len(), 12, "{:?}", result.refused);
    let result = session.execute(ExecutionRequest::python(write(400))).await.unwrap();
    assert_out_of_memory(&result, "files");
    session.close().await.unwrap();
}

/// A container that is killed some time after a program ran out of memory was still killed.
#[tokio::test(flavor = "multi_thread")]
async fn earlier_ends_of_programs_do_not_explain_the_container() {
    let Some(executor) = executor().await else { return };
    let docker = crate::engine::client().await;
    let mut session = open(&executor, 100).await;
    let id = crate::engine::container_of(&docker, session.as_mut()).await.id.unwrap();
    let hog = "kept = bytearray(b'x' * (200 << 20))";
    assert_out_of_memory(&session.execute(ExecutionRequest::python(hog)).await.unwrap(), "a hog");
    assert_eq!(succeed(session.as_mut(), "print('alive')").await, "alive\n");
    tokio::time::sleep(std::time::Duration::from_secs(6)).await;
    docker
        .kill_container(&id, None::<bollard::query_parameters::KillContainerOptions>)
        .await
        .unwrap();
    let error = with_causes(&session.execute(ExecutionRequest::python("1")).await.unwrap_err());
    assert!(error.contains("killed or removed from outside"), "{error}");
}
