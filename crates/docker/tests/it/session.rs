//! Sessions whose container, engine or process ends early.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use bollard::query_parameters::{KillContainerOptions, RemoveContainerOptions};
use cellblock_docker::{DockerExecutor, Engine, Options, connect::DockerEnvironment};
use cellblock_exec::{
    Error, ExecutionRequest, Executor, Limit, Limits, Outcome, Session, SessionSpec, Silent,
    with_causes,
};

use crate::engine::{
    client, container_of, containers_with_memory, eventually, executor, is_gone, succeed,
};

/// Returns the error of a block whose container is gone.
async fn after(session: &mut dyn Session) -> String {
    match session.execute(ExecutionRequest::python("print(1)")).await {
        Err(error @ Error::Lost { .. }) => with_causes(&error),
        other => panic!("a container that is gone gave {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_removed_behind_our_back_is_reported() {
    let Some(executor) = executor().await else { return };
    let docker = client().await;
    let mut session = executor.open(SessionSpec::default()).await.unwrap();
    let container = container_of(&docker, session.as_mut()).await;
    let id = container.id.unwrap();
    let volume = container.mounts.unwrap()[0].name.clone().unwrap();
    docker.inspect_volume(&volume).await.unwrap();
    let options = RemoveContainerOptions { force: true, ..RemoveContainerOptions::default() };
    docker.remove_container(&id, Some(options)).await.unwrap();
    for _ in 0..2 {
        let error = after(session.as_mut()).await;
        assert!(
            error.contains("killed or removed from outside")
                && error.contains("open a new session"),
            "{error}"
        );
    }
    eventually("its volume is gone", async || docker.inspect_volume(&volume).await.is_err()).await;
    session.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_killed_while_it_runs_a_block_is_reported() {
    let Some(executor) = executor().await else { return };
    let docker = client().await;
    let mut session = executor.open(SessionSpec::default()).await.unwrap();
    let id = container_of(&docker, session.as_mut()).await.id.unwrap();
    let began = Instant::now();
    let running = session.execute(ExecutionRequest::python("import time\ntime.sleep(50)"));
    let killing = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        docker.kill_container(&id, None::<KillContainerOptions>).await.unwrap();
    };
    let (result, ()) = tokio::join!(running, killing);
    let error = with_causes(&result.unwrap_err());
    assert!(error.contains("killed or removed from outside"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    session.close().await.unwrap();
}

/// Starts an engine that can die: a task passes everything between the socket at `path` and the
/// real engine.
async fn mortal_engine(real: PathBuf, path: &Path) -> tokio::task::JoinHandle<()> {
    let listener = tokio::net::UnixListener::bind(path).unwrap();
    tokio::spawn(async move {
        let mut connections = tokio::task::JoinSet::new();
        loop {
            let (mut inside, _) = listener.accept().await.unwrap();
            let mut outside = tokio::net::UnixStream::connect(&real).await.unwrap();
            connections.spawn(async move {
                let _ = tokio::io::copy_bidirectional(&mut inside, &mut outside).await;
            });
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_dies_is_reported_and_its_container_ends() {
    // The image has to be there; the executor itself is not used.
    let Some(control) = executor().await else { return };
    let docker = client().await;
    let cellblock_docker::connect::Address::Socket(real) =
        control.engine().endpoint().address.clone()
    else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("engine.sock");
    let engine = mortal_engine(real, &path).await;
    let environment = DockerEnvironment {
        host: Some(format!("unix://{}", path.display())),
        ..DockerEnvironment::default()
    };
    let connected = Engine::connect_in(&environment).await.unwrap();
    let options = Options { idle: 0, ..Options::default() };
    let executor = DockerExecutor::start_on(connected, options, &Silent).await.unwrap();
    let mut session = executor.open(SessionSpec::default()).await.unwrap();
    let id = container_of(&docker, session.as_mut()).await.id.unwrap();

    engine.abort();
    let _ = engine.await;
    let error = after(session.as_mut()).await;
    assert!(error.contains("engine"), "{error}");
    // The end of the connection is the end of the driver's input.
    eventually("the container is gone", async || is_gone(&docker, &id).await).await;
    let error = with_causes(&executor.open(SessionSpec::default()).await.unwrap_err());
    assert!(error.contains("engine cannot be reached"), "{error}");
    drop(session);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_session_leaves_no_container() {
    let Some(executor) = executor().await else { return };
    let docker = client().await;
    let mut session = executor.open(SessionSpec::default()).await.unwrap();
    let id = container_of(&docker, session.as_mut()).await.id.unwrap();
    drop(session);
    eventually("the container is gone", async || is_gone(&docker, &id).await).await;
}

#[test]
fn a_session_dropped_after_its_runtime_leaves_no_container() {
    let runtime = || tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let first = runtime();
    let Some((executor, session, id)) = first.block_on(async {
        let executor = executor().await?;
        let mut session = executor.open(SessionSpec::default()).await.unwrap();
        let id = container_of(&client().await, session.as_mut()).await.id.unwrap();
        Some((executor, session, id))
    }) else {
        return;
    };
    drop(first);
    drop((executor, session));
    runtime().block_on(async {
        let docker = client().await;
        eventually("the container is gone", async || is_gone(&docker, &id).await).await;
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_open_leaves_no_container() {
    let Some(executor) = executor().await else { return };
    let docker = client().await;
    let memory = 137 << 20;
    let limits = Limits { memory: memory as u64, ..Limits::default() };
    for milliseconds in [1, 20, 60, 150, 300] {
        let open = executor.open(SessionSpec { limits: limits.clone(), ..SessionSpec::default() });
        let _ = tokio::time::timeout(Duration::from_millis(milliseconds), open).await;
    }
    // By then every container that was requested exists.
    tokio::time::sleep(Duration::from_secs(3)).await;
    eventually("no container is left", async || {
        containers_with_memory(&docker, memory).await.is_empty()
    })
    .await;
}

#[test]
fn a_runtime_that_ends_while_containers_are_made_leaves_none() {
    let runtime = || {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
    };
    let memory = 139 << 20;
    let limits = Limits { memory: memory as u64, ..Limits::default() };
    for milliseconds in [1, 5, 20, 50, 100, 200, 400] {
        let ending = runtime();
        let has_engine = ending.block_on(async {
            let Some(executor) = executor().await else { return false };
            let spec = SessionSpec { limits: limits.clone(), ..SessionSpec::default() };
            let _ = tokio::time::timeout(Duration::from_millis(milliseconds), executor.open(spec))
                .await;
            true
        });
        if !has_engine {
            return;
        }
        drop(ending);
    }
    runtime().block_on(async {
        let docker = client().await;
        eventually("no container is left", async || {
            containers_with_memory(&docker, memory).await.is_empty()
        })
        .await;
    });
}

/// The variable that is set for the process to be killed.
const VICTIM: &str = "CELLBLOCK_TEST_VICTIM";

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_leaves_no_container() {
    use tokio::io::{AsyncBufReadExt, BufReader};
    let docker = match executor().await {
        None => return,
        Some(executor) if std::env::var_os(VICTIM).is_some() => {
            let mut session = executor.open(SessionSpec::default()).await.unwrap();
            println!(
                "container {}",
                container_of(&client().await, session.as_mut()).await.id.unwrap()
            );
            tokio::time::sleep(Duration::from_secs(60)).await;
            panic!("nobody killed this process");
        }
        Some(_) => client().await,
    };
    // It runs this very test.
    let mut victim = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "session::a_killed_process_leaves_no_container", "--nocapture"])
        .env(VICTIM, "1")
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(victim.stdout.take().unwrap()).lines();
    let id = loop {
        let line = lines.next_line().await.unwrap().expect("the victim ended by itself");
        if let Some((_, id)) = line.split_once("container ") {
            break id.to_owned();
        }
    };
    assert!(!is_gone(&docker, &id).await);
    // SIGKILL.
    victim.kill().await.unwrap();
    eventually("the container is gone", async || is_gone(&docker, &id).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_that_runs_out_is_a_limit_and_the_session_lives() {
    let Some(executor) = executor().await else { return };
    let limits = Limits { memory: 100 << 20, ..Limits::default() };
    let mut session =
        executor.open(SessionSpec { limits, ..SessionSpec::default() }).await.unwrap();
    let code = "kept = []\nwhile True: kept.append(bytearray(b'x' * (1 << 20)))";
    let result = session.execute(ExecutionRequest::python(code)).await.unwrap();
    assert_eq!(result.outcome, Outcome::LimitExceeded { limit: Limit::Memory }, "{result:?}");
    assert_eq!(succeed(session.as_mut(), "print('alive')").await, "alive\n");
    session.close().await.unwrap();
}
