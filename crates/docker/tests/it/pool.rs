//! Idle containers: when they are used, replaced and removed.

use std::time::{Duration, Instant};

use bollard::query_parameters::RemoveContainerOptions;
use cellblock_docker::Options;
use cellblock_exec::{ExecutionRequest, Executor, Limits, SessionSpec};

use crate::engine::{
    client, container_of, containers_with_memory, eventually, executor_with, is_gone, succeed,
};

fn keeping(idle: usize) -> Options {
    Options { idle, ..Options::default() }
}

fn spec(megabytes: u64) -> SessionSpec {
    let limits = Limits { memory: megabytes << 20, ..Limits::default() };
    SessionSpec { limits, ..SessionSpec::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_takes_an_idle_container_and_another_takes_its_place() {
    let Some(executor) = executor_with(keeping(1)).await else { return };
    assert_eq!(executor.idle(), 0, "nobody has asked for anything yet");
    executor.warm(&SessionSpec::default()).await.unwrap();
    assert_eq!(executor.idle(), 1);

    let began = Instant::now();
    let mut session = executor.open(SessionSpec::default()).await.unwrap();
    let opened = began.elapsed();
    assert_eq!(executor.idle(), 0);
    session.execute(ExecutionRequest::python("1")).await.unwrap();
    println!("opened in {opened:?}, first result after {:?}", began.elapsed());
    assert!(opened < Duration::from_millis(100), "{opened:?}: that was no idle container");

    eventually("another one is ready", async || executor.idle() == 1).await;
    let mut other = executor.open(SessionSpec::default()).await.unwrap();
    succeed(session.as_mut(), "x = 1").await;
    let code = "try: print(x)\nexcept NameError: print('of its own')";
    assert_eq!(succeed(other.as_mut(), code).await, "of its own\n");
    session.close().await.unwrap();
    other.close().await.unwrap();
    executor.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn another_kind_of_session_gets_a_container_of_its_kind() {
    let Some(executor) = executor_with(keeping(1)).await else { return };
    executor.warm(&spec(100)).await.unwrap();
    // Limits that are enforced from outside are not part of the kind.
    let limits = Limits { wall: Duration::from_secs(5), output: 77, ..spec(100).limits };
    let began = Instant::now();
    let session = executor.open(SessionSpec { limits, ..SessionSpec::default() }).await.unwrap();
    assert!(began.elapsed() < Duration::from_millis(100), "{:?}", began.elapsed());
    session.close().await.unwrap();

    let docker = client().await;
    let mut session = executor.open(spec(150)).await.unwrap();
    let host = container_of(&docker, session.as_mut()).await.host_config.unwrap();
    assert_eq!(host.memory, Some(150 << 20));
    session.close().await.unwrap();
    executor.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_idle_container_is_replaced() {
    let Some(executor) = executor_with(keeping(1)).await else { return };
    let docker = client().await;
    // Its memory limit distinguishes it from those of other tests.
    executor.warm(&spec(123)).await.unwrap();
    let idle = containers_with_memory(&docker, 123 << 20).await;
    assert_eq!(idle.len(), 1);
    let options = RemoveContainerOptions { force: true, ..RemoveContainerOptions::default() };
    docker.remove_container(&idle[0], Some(options)).await.unwrap();
    eventually("another one is made", async || {
        let now = containers_with_memory(&docker, 123 << 20).await;
        executor.idle() == 1 && now.len() == 1 && now != idle
    })
    .await;
    let mut session = executor.open(spec(123)).await.unwrap();
    assert_eq!(succeed(session.as_mut(), "print('alive')").await, "alive\n");
    session.close().await.unwrap();
    executor.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_containers_end_with_their_executor() {
    let docker = match executor_with(keeping(2)).await {
        None => return,
        Some(executor) => {
            executor.warm(&spec(131)).await.unwrap();
            assert_eq!(executor.idle(), 2);
            let docker = client().await;
            assert_eq!(containers_with_memory(&docker, 131 << 20).await.len(), 2);
            executor.close().await.unwrap();
            assert_eq!(containers_with_memory(&docker, 131 << 20).await.len(), 0);
            docker
        }
    };
    let executor = executor_with(keeping(2)).await.unwrap();
    executor.warm(&spec(131)).await.unwrap();
    let idle = containers_with_memory(&docker, 131 << 20).await;
    drop(executor);
    for id in idle {
        eventually("a dropped executor's container is gone", async || is_gone(&docker, &id).await)
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_of_none_keeps_none() {
    let Some(executor) = executor_with(keeping(0)).await else { return };
    executor.warm(&SessionSpec::default()).await.unwrap();
    let session = executor.open(SessionSpec::default()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(executor.idle(), 0);
    session.close().await.unwrap();
}
