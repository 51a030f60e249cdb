//! The engine that tests use, looked at from outside with the client library.

use std::{collections::HashMap, time::Duration};

use bollard::{
    Docker,
    models::{ContainerInspectResponse, ContainerSummary},
    query_parameters::{InspectContainerOptions, ListContainersOptions},
};
use cellblock_docker::{DEFAULT_IMAGE, DockerExecutor, Engine, Options};
use cellblock_exec::{ExecutionRequest, Session, Silent};
use tokio::sync::Mutex;

/// Tests of one process must not make the image at the same time.
static MAKING: Mutex<()> = Mutex::const_new(());

/// The engine, if there is one; a test that gets none is over.
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

/// An executor without idle containers, on the image `docker-python`.
pub async fn executor() -> Option<DockerExecutor> {
    executor_with(Options { idle: 0, ..Options::default() }).await
}

/// An executor with these options.
pub async fn executor_with(options: Options) -> Option<DockerExecutor> {
    let engine = engine().await?;
    let _making = MAKING.lock().await;
    cellblock_docker::pull(DEFAULT_IMAGE, &Silent).await.unwrap();
    Some(DockerExecutor::start_on(engine, options, &Silent).await.unwrap())
}

/// The client library, to see what the engine sees.
pub async fn client() -> Docker {
    Docker::connect_with_defaults().unwrap().negotiate_version().await.unwrap()
}

/// The ids of all containers whose label has this value, running or not.
pub async fn containers(docker: &Docker, label: &str) -> Vec<ContainerSummary> {
    let filters = HashMap::from([("label".to_owned(), vec![label.to_owned()])]);
    let options = ListContainersOptions {
        all: true,
        filters: Some(filters),
        ..ListContainersOptions::default()
    };
    docker.list_containers(Some(options)).await.unwrap()
}

/// The container in which a session runs: the one with its file `name` in the workspace is found by asking the session for
/// its host's identity, which is of no use, so a marked environment variable of the program is looked for in the process
/// list instead.
pub async fn container_of(docker: &Docker, session: &mut dyn Session) -> ContainerInspectResponse {
    // The control groups are named after the container, in both versions; where the name is hidden, the mounts tell.
    let code = "import re\n\
                text = open('/proc/self/mountinfo').read() + open('/proc/self/cgroup').read()\n\
                print(re.search('[0-9a-f]{64}', re.sub('/volumes/[0-9a-f]{64}', '', text)).group())";
    let id = succeed(session, code).await;
    docker.inspect_container(id.trim(), None::<InspectContainerOptions>).await.unwrap()
}

/// Runs a program that must succeed, and gives what it printed.
pub async fn succeed(session: &mut dyn Session, code: &str) -> String {
    let result = session.execute(ExecutionRequest::python(code)).await.unwrap();
    assert!(result.outcome.is_success(), "{code}: {result:?}");
    result.stdout.text()
}

/// Waits until a condition holds, for 20 s at most.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    for _ in 0..400 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{what}: not within 20 s");
}

/// Whether a container is gone.
pub async fn is_gone(docker: &Docker, id: &str) -> bool {
    docker.inspect_container(id, None::<InspectContainerOptions>).await.is_err()
}

/// An error with its causes.
pub fn text(error: &cellblock_exec::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
