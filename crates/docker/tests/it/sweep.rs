//! The removal of what a crash left, and of nothing else.

use std::collections::HashMap;

use bollard::{Docker, models::ContainerCreateBody, query_parameters::CreateContainerOptions};
use cellblock_docker::{DockerExecutor, Options};
use cellblock_exec::{Executor, SessionSpec, Silent};

use crate::engine::{client, container_of, engine, executor, is_gone};

/// Creates a container that is never started, with these labels.
async fn left_behind(docker: &Docker, image: &str, labels: &[(&str, &str)]) -> String {
    let labels: HashMap<_, _> =
        labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let body = ContainerCreateBody {
        image: Some(image.to_owned()),
        cmd: Some(vec!["true".to_owned()]),
        labels: Some(labels),
        ..ContainerCreateBody::default()
    };
    docker.create_container(None::<CreateContainerOptions>, body).await.unwrap().id
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_the_dead_left_is_removed() {
    let Some(first) = executor().await else { return };
    let docker = client().await;
    let mut session = first.open(SessionSpec::default()).await.unwrap();
    let live = container_of(&docker, session.as_mut()).await;
    let (id, image) = (live.id.unwrap(), live.image.unwrap());
    let owner = live.config.unwrap().labels.unwrap()["cellblock.owner"].clone();
    let parts: Vec<&str> = owner.split('/').collect();
    let [machine, boot, namespace, process, started] = parts.as_slice() else { panic!("{owner}") };

    // A process of the same number and another start: the owner's number was used again.
    let dead = format!("{machine}/{boot}/{namespace}/{process}/{started}9");
    let elsewhere = format!("another{machine}/another{boot}/{namespace}/{process}/1");
    let hidden = format!("{machine}/{boot}/1{namespace}/{process}/1");
    let of = async |owner: &str| left_behind(&docker, &image, &[("cellblock.owner", owner)]).await;
    let swept = of(&dead).await;
    let kept = [
        of(&owner).await,
        of(&elsewhere).await,
        of(&hidden).await,
        of("").await,
        of("no owner").await,
        left_behind(&docker, &image, &[("cellblock.version", "0.1.0")]).await,
        left_behind(&docker, &image, &[]).await,
    ];

    let second = DockerExecutor::start_on(
        engine().await.unwrap(),
        Options { idle: 0, ..Options::default() },
        &Silent,
    );
    second.await.unwrap();
    assert!(is_gone(&docker, &swept).await);
    for (number, container) in kept.iter().enumerate() {
        assert!(!is_gone(&docker, container).await, "container {number} was removed");
    }
    assert!(!is_gone(&docker, &id).await);
    assert_eq!(crate::engine::succeed(session.as_mut(), "print('alive')").await, "alive\n");
    session.close().await.unwrap();
    for container in kept {
        docker.remove_container(&container, None).await.unwrap();
    }
}
