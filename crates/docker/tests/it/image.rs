//! The images in the engine, and the image that sessions start from.

use std::process::Command;

use bollard::query_parameters::RemoveImageOptions;
use cellblock_docker::{DEFAULT_IMAGE, Options, checks, images};
use cellblock_exec::{ExecutionRequest, Executor, Language, SessionSpec, Silent, with_causes};

use crate::engine::{client, engine, executor, executor_with, succeed};

#[tokio::test(flavor = "multi_thread")]
async fn docker_python_has_its_libraries() {
    let Some(executor) = executor().await else { return };
    let mut session = executor.open(SessionSpec::default()).await.unwrap();
    let code = "import numpy, pandas, matplotlib\n\
                print(numpy.arange(4).sum(), pandas.DataFrame({'a': [1]}).shape)";
    assert_eq!(succeed(session.as_mut(), code).await, "6 (1, 1)\n");
    session.close().await.unwrap();

    let listed = images().await.unwrap();
    let image = listed.iter().find(|image| image.name == DEFAULT_IMAGE).unwrap();
    assert!(image.current && image.bytes > 100 << 20 && image.recipe.is_some(), "{image:?}");
}

/// The most frequent shell block.
#[tokio::test(flavor = "multi_thread")]
async fn a_shell_finds_python_under_both_names() {
    let Some(executor) = executor().await else { return };
    let mut session = executor.open(SessionSpec::default()).await.unwrap();
    succeed(session.as_mut(), "n = open('script.py', 'w').write('print(6 * 7)')").await;
    for python in ["python3", "python"] {
        let request = ExecutionRequest {
            language: Language::BASH,
            ..ExecutionRequest::python(format!("{python} script.py"))
        };
        let result = session.execute(request).await.unwrap();
        assert_eq!(result.stdout.text(), "42\n", "{python}: {}", result.stderr.text());
    }
    session.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_label_of_an_image_lists_its_languages_truly() {
    let Some(labelled) = executor().await else { return };
    let docker = client().await;
    let image =
        images().await.unwrap().into_iter().find(|image| image.name == DEFAULT_IMAGE).unwrap();
    // The same without the label, so that a driver has to find the languages.
    let body = bollard::models::ContainerCreateBody {
        image: Some(image.id),
        cmd: Some(vec!["true".to_owned()]),
        ..bollard::models::ContainerCreateBody::default()
    };
    let id = docker.create_container(None, body).await.unwrap().id;
    let name = "cellblock-test-unlabelled:1";
    let options = bollard::query_parameters::CommitContainerOptions {
        container: Some(id.clone()),
        repo: Some("cellblock-test-unlabelled".to_owned()),
        tag: Some("1".to_owned()),
        changes: Some("LABEL cellblock.languages=".to_owned()),
        ..Default::default()
    };
    docker.commit_container(options, bollard::models::ContainerConfig::default()).await.unwrap();
    docker.remove_container(&id, None).await.unwrap();
    let looked =
        executor_with(Options { image: name.to_owned(), ..Options::default() }).await.unwrap();
    assert_eq!(
        looked.idle(),
        1,
        "the container in which they were found is kept for the first session"
    );
    assert_eq!(looked.capabilities().languages, labelled.capabilities().languages);
    looked.close().await.unwrap();
    docker.remove_image(name, None::<RemoveImageOptions>, None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_image_is_named() {
    let Some(executor) = executor().await else { return };
    for image in ["no-such-image-here", "no.such/image:1", "UPPER CASE"] {
        let spec = SessionSpec { image: Some(image.to_owned()), ..SessionSpec::default() };
        let error = with_causes(&executor.open(spec).await.unwrap_err());
        assert!(error.contains(image), "{error}");
    }
    let spec =
        SessionSpec { image: Some("no-such-image-here".to_owned()), ..SessionSpec::default() };
    let error = with_causes(&executor.open(spec).await.unwrap_err());
    assert!(error.contains("cellblock image pull no-such-image-here"), "{error}");

    let options = Options { image: "no-such-image-here".to_owned(), ..Options::default() };
    let engine = engine().await.unwrap();
    let error =
        cellblock_docker::DockerExecutor::start_on(engine, options, &Silent).await.unwrap_err();
    assert!(with_causes(&error).contains("no-such-image-here"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_without_python_is_reported() {
    let Some(executor) = executor().await else { return };
    // An empty image.
    let directory = tempfile::tempdir().unwrap();
    let archive = directory.path().join("empty.tar");
    let made =
        Command::new("tar").arg("-cf").arg(&archive).args(["-T", "/dev/null"]).status().unwrap();
    assert!(made.success());
    let docker = client().await;
    let options = bollard::query_parameters::CreateImageOptions {
        from_src: Some("-".to_owned()),
        repo: Some("cellblock-test-empty".to_owned()),
        tag: Some("1".to_owned()),
        ..Default::default()
    };
    let body = bollard::body_full(std::fs::read(&archive).unwrap().into());
    let messages: Vec<_> =
        futures_util::StreamExt::collect(docker.create_image(Some(options), Some(body), None))
            .await;
    assert!(messages.iter().all(Result::is_ok), "{messages:?}");
    let spec =
        SessionSpec { image: Some("cellblock-test-empty:1".to_owned()), ..SessionSpec::default() };
    let error = with_causes(&executor.open(spec).await.unwrap_err());
    assert!(error.contains("the image has no python3"), "{error}");
    docker.remove_image("cellblock-test-empty:1", None::<RemoveImageOptions>, None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_sees_the_engine() {
    let Some(_) = executor().await else { return };
    let checks = checks().await;
    let names: Vec<&str> = checks.iter().map(|check| check.name.as_str()).collect();
    assert_eq!(
        names,
        ["engine", "image docker-python", "system call filter", "limits", "runtimes"]
    );
    assert!(checks.iter().all(|check| check.executor == "docker" && check.ok), "{checks:#?}");
}
