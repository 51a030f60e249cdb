//! The build of the image `docker-python`: on the registry's image that the Dockerfile names, or,
//! if no registry can be reached, on a root from Debian's packages. Both get the same libraries.

use std::{collections::HashMap, io, path::Path, process::Stdio, time::Duration};

use bollard::{
    body_try_stream,
    models::{ContainerConfig, HostConfig},
    query_parameters::{CommitContainerOptions, CreateImageOptions, RemoveImageOptions},
};
use cellblock_exec::{Error, Progress, Result, with_causes};
use futures_util::{StreamExt, TryStreamExt};
use serde::Serialize;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio_util::io::ReaderStream;

use crate::{
    engine::Engine,
    failure::{reason, start_error},
    flags::{hardened, program},
    job,
    names::{
        DEFAULT_IMAGE, IMAGE_REPOSITORY, LANGUAGES_LABEL, OWNER_LABEL, RECIPE_LABEL,
        ROOT_REPOSITORY,
    },
    pip::{self, PipTask},
    recipe::{
        DEBIAN, IMAGE_LANGUAGES, PREPARE, REQUIREMENTS, base_image, image_reference,
        root_reference, tag,
    },
    registry::pull_from_registry,
};

/// The maximum time for a registry to deliver the base image. After that it counts as unreachable.
const REGISTRY_PATIENCE: Duration = Duration::from_secs(60);
/// The maximum time of the installation.
const INSTALL_PATIENCE: Duration = Duration::from_secs(30 * 60);
/// The directory in which the installation works. It is removed at the end.
const WORK: &str = "/tmp/cellblock";
/// The size of the pieces in which a root is sent to the engine, in bytes.
const PIECE: usize = 256 * 1024;

/// Makes the image, unless the engine has it.
pub async fn build_default_image(engine: &Engine, progress: &dyn Progress) -> Result<()> {
    if engine.docker.inspect_image(&image_reference(DEFAULT_IMAGE)).await.is_ok() {
        return Ok(());
    }
    let base = base_image();
    progress.step("looking for a registry");
    let pull = pull_from_registry(engine, base, progress);
    let why = match tokio::time::timeout(REGISTRY_PATIENCE, pull).await {
        Ok(Ok(())) => {
            progress.step("installing the libraries");
            return install(engine, base, "registry").await;
        }
        Ok(Err(error)) => with_causes(&error),
        Err(_) => {
            format!("the registry did not deliver {base} in {} s", REGISTRY_PATIENCE.as_secs())
        }
    };
    from_debian(engine, progress).await.map_err(|error| {
        let debian = with_causes(&error);
        failed(format!("from Debian's packages: {debian}; from a registry: {why}"))
    })
}

fn failed(why: impl Into<String>) -> Error {
    Error::Start { what: format!("the build of image {DEFAULT_IMAGE}"), source: why.into().into() }
}

/// Makes the image from Debian's packages.
async fn from_debian(engine: &Engine, progress: &dyn Progress) -> Result<()> {
    let work = tempfile::tempdir().map_err(|error| failed(error.to_string()))?;
    let archive = work.path().join("root.tar");
    bootstrap(&archive, progress).await?;
    progress.step("importing");
    import(engine, &archive, progress).await?;
    progress.step("installing the libraries");
    let root = root_reference();
    let made = install(engine, &root, "debian").await;
    // The image continues to use its layers.
    let _ = engine.docker.remove_image(&root, None::<RemoveImageOptions>, None).await;
    made
}

/// Runs the script that makes a root, as the file `archive`.
async fn bootstrap(archive: &Path, progress: &dyn Progress) -> Result<()> {
    progress.step("making a root from Debian's packages");
    let mut child = tokio::process::Command::new("sh")
        .args(["-c", DEBIAN, "debian.sh"])
        .arg(archive)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(format!("sh: {error}")))?;
    let mut errors = Vec::new();
    if let Some(output) = child.stderr.take() {
        let mut lines = BufReader::new(output).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            if let Some(step) = line.strip_prefix("I: ").and_then(|line| line.strip_suffix("...")) {
                progress.step(step);
            } else if let Some(error) = line.strip_prefix("E: ") {
                errors.push(error.to_owned());
            }
        }
    }
    let ended = child.wait().await.map_err(|error| failed(error.to_string()))?;
    if ended.success() {
        return Ok(());
    }
    errors.dedup();
    Err(failed(if errors.is_empty() {
        format!("the script ended with {ended}")
    } else {
        errors.join("; ")
    }))
}

/// Imports a root into the engine as an image.
async fn import(engine: &Engine, archive: &Path, progress: &dyn Progress) -> Result<()> {
    let unreadable = |error: io::Error| failed(error.to_string());
    let file = tokio::fs::File::open(archive).await.map_err(unreadable)?;
    let total = file.metadata().await.map_err(unreadable)?.len();
    // The engine answers only at the end, so the progress is the number of bytes read meanwhile.
    let (sender, mut read) = tokio::sync::watch::channel(0u64);
    let body = ReaderStream::with_capacity(file, PIECE)
        .inspect_ok(move |chunk| sender.send_modify(|read| *read += chunk.len() as u64));
    let options = CreateImageOptions {
        from_src: Some("-".to_owned()),
        repo: Some(ROOT_REPOSITORY.to_owned()),
        tag: Some(tag()),
        ..CreateImageOptions::default()
    };
    let docker = engine.patient();
    let mut messages = docker.create_image(Some(options), Some(body_try_stream(body)), None);
    loop {
        tokio::select! {
            message = messages.next() => match message {
                Some(message) => drop(message.map_err(|error| failed(reason(&error)))?),
                None => return Ok(()),
            },
            Ok(()) = read.changed() => progress.advance(*read.borrow_and_update(), total),
        }
    }
}

/// The input of the program that installs the requirements.
#[derive(Serialize)]
struct PrepareTask {
    #[serde(flatten)]
    pip: PipTask,
    requirements: &'static str,
}

/// Installs the requirements into a root, and makes the image of both, as the Dockerfile does. The
/// engine's own build would know neither this machine's authorities nor its settings of pip.
async fn install(engine: &Engine, root: &str, recipe: &str) -> Result<()> {
    let arguments = ["-I", "-c", PREPARE].map(str::to_owned).to_vec();
    let mut body = program(root, arguments, &engine.owner.label());
    body.user = Some("0:0".to_owned());
    body.working_dir = Some("/".to_owned());
    body.host_config = Some(HostConfig {
        network_mode: Some("bridge".to_owned()),
        readonly_rootfs: Some(false),
        ..hardened()
    });
    let task = PrepareTask { pip: PipTask::here(WORK), requirements: REQUIREMENTS };
    let input = serde_json::to_vec(&task).map_err(|error| failed(error.to_string()))?;
    let finished = job::run(engine, body, None, input, INSTALL_PATIENCE).await?;
    if finished.code != 0 {
        return Err(failed(pip::reason(&finished.stderr_text(), finished.code)));
    }
    let options = CommitContainerOptions {
        container: Some(finished.container.id.to_string()),
        repo: Some(IMAGE_REPOSITORY.to_owned()),
        tag: Some(tag()),
        changes: Some("ENTRYPOINT []\nCMD [\"python3\"]\nUSER 65534:65534\nWORKDIR /".to_owned()),
        ..CommitContainerOptions::default()
    };
    let labels = [(RECIPE_LABEL, recipe), (LANGUAGES_LABEL, IMAGE_LANGUAGES), (OWNER_LABEL, "")];
    let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let config =
        ContainerConfig { labels: Some(HashMap::from(labels)), ..ContainerConfig::default() };
    let committed = engine.patient().commit_container(options, config).await;
    committed
        .map_err(|error| start_error(format!("the build of image {DEFAULT_IMAGE}"), &error))?;
    finished.container.remove().await
}
