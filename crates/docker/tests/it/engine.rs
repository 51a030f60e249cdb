//! The engine that tests use, and a look at it from outside with the client library.

use std::{collections::HashMap, time::Duration};

use bollard::{
    Docker,
    models::{ContainerInspectResponse, ContainerSummary},
    query_parameters::{InspectContainerOptions, ListContainersOptions},
};
use cellblock_docker::{DEFAULT_IMAGE, DockerExecutor, Engine, Options};
use cellblock_exec::{ExecutionRequest, Session, Silent};
use tokio::sync::Mutex;

/// Held while a test makes the image: only one test of a process may do so.
static MAKING: Mutex<()> = Mutex::const_new(());

/// Returns the engine. A test that gets none is skipped, or fails if an engine is required.
pub async fn engine() -> Option<Engine> {
    match Engine::connect().await {
        Ok(engine) => Some(engine),
        Err(error)
            if std::env::var_os("CELLBLOCK_REQUIRE_DOCKER").is_some_and(|value| value == "1") =>
        {
            panic!("CELLBLOCK_REQUIRE_DOCKER=1, but there is no Docker engine: {error:?}")
        }
        Err(_) => {
            println!("skipped: no Docker engine");
            None
        }
    }
}

/// Starts an executor without idle containers, on the image `docker-python`.
pub async fn executor() -> Option<DockerExecutor> {
    executor_with(Options { idle: 0, ..Options::default() }).await
}

/// Starts an executor with these options.
pub async fn executor_with(options: Options) -> Option<DockerExecutor> {
    let engine = engine().await?;
    let _making = MAKING.lock().await;
    cellblock_docker::pull(DEFAULT_IMAGE, &Silent).await.unwrap();
    Some(DockerExecutor::start_on(engine, options, &Silent).await.unwrap())
}

/// Connects with the client library, to see what the engine sees.
pub async fn client() -> Docker {
    Docker::connect_with_defaults().unwrap().negotiate_version().await.unwrap()
}

/// Returns all containers with this label, running or not.
pub async fn containers(docker: &Docker, label: &str) -> Vec<ContainerSummary> {
    let filters = HashMap::from([("label".to_owned(), vec![label.to_owned()])]);
    let options = ListContainersOptions {
        all: true,
        filters: Some(filters),
        ..ListContainersOptions::default()
    };
    docker.list_containers(Some(options)).await.unwrap()
}

/// Returns the container in which a session runs.
pub async fn container_of(docker: &Docker, session: &mut dyn Session) -> ContainerInspectResponse {
    // Control groups have the container's id in their names, in both versions. Where the name is
    // hidden, a mount has it.
    let code = "import re\n\
                text = open('/proc/self/mountinfo').read() + open('/proc/self/cgroup').read()\n\
                text = re.sub('/volumes/[0-9a-f]{64}', '', text)\n\
                print(re.search('[0-9a-f]{64}', text).group())";
    let id = succeed(session, code).await;
    docker.inspect_container(id.trim(), None::<InspectContainerOptions>).await.unwrap()
}

/// Runs a program that must succeed, and returns its output.
pub async fn succeed(session: &mut dyn Session, code: &str) -> String {
    let result = session.execute(ExecutionRequest::python(code)).await.unwrap();
    assert!(result.outcome.is_success(), "{code}: {result:?}");
    result.stdout.text()
}

/// Waits until a condition holds, for at most 20 s.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    for _ in 0..400 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{what}: not within 20 s");
}

/// Returns true if a container is gone.
pub async fn is_gone(docker: &Docker, id: &str) -> bool {
    docker.inspect_container(id, None::<InspectContainerOptions>).await.is_err()
}

/// Returns the ids of the containers of ours with this memory limit. Tests that run at once tell
/// their containers apart by it.
pub async fn containers_with_memory(docker: &Docker, bytes: i64) -> Vec<String> {
    let mut found = Vec::new();
    for container in containers(docker, "cellblock.owner").await {
        let id = container.id.unwrap();
        // A container that is just being removed does not count.
        if let Ok(inspected) = docker.inspect_container(&id, None).await
            && inspected.host_config.and_then(|host| host.memory) == Some(bytes)
        {
            found.push(id);
        }
    }
    found
}
