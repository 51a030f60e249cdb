//! Making the image `docker-python`: on the registry's image that the Dockerfile names, or, where no registry can be
//! reached, on a root from Debian's packages. Both get the same libraries.

use std::{collections::HashMap, io, path::Path, process::Stdio, time::Duration};

use bollard::{
    body_try_stream,
    models::{ContainerConfig, HostConfig},
    query_parameters::{CommitContainerOptions, CreateImageOptions, RemoveImageOptions},
};
use cellblock_exec::{Error, Progress, Result};
use futures_util::{StreamExt, TryStreamExt};
use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio_util::io::ReaderStream;

use crate::{
    connect::hex,
    engine::{Engine, reason, start},
    flags::{hardened, program},
    image::{DEFAULT, LANGUAGES, RECIPE, from_registry},
    job,
    owner::OWNER,
    pip,
};

const DOCKERFILE: &str = include_str!("../../../sandbox-images/docker-python/Dockerfile");
const REQUIREMENTS: &str = include_str!("../../../sandbox-images/docker-python/requirements.txt");
const DEBIAN: &str = include_str!("../../../sandbox-images/docker-python/debian.sh");
/// The program that installs the requirements into a root from Debian.
const PREPARE: &str = include_str!("prepare.py");

/// The repository of the image.
pub(crate) const REPOSITORY: &str = "cellblock/docker-python";
/// The repository of the root from Debian, until the image is made of it.
const ROOT: &str = "cellblock/docker-python-root";
/// What the image runs, whichever way it was made. `tests/it/image.rs` compares it with what a driver finds.
const IMAGE_LANGUAGES: &str = "python,bash,sh,perl";

/// How long a registry may take until it says anything. After that it counts as out of reach.
const REGISTRY: Duration = Duration::from_secs(60);
/// How long the installation may take.
const DEADLINE: Duration = Duration::from_secs(30 * 60);

/// The image's name in the engine. It changes with the recipe, so that an image is never older than the program.
pub(crate) fn reference() -> String {
    format!("{REPOSITORY}:{}", tag())
}

fn tag() -> String {
    let recipe = [DOCKERFILE, REQUIREMENTS, DEBIAN, PREPARE].join("\0");
    hex(&Sha256::digest(recipe.as_bytes()))[..16].to_owned()
}

/// Makes the image, if it is not there.
pub(crate) async fn make(engine: &Engine, progress: &dyn Progress) -> Result<()> {
    if engine.docker.inspect_image(&reference()).await.is_ok() {
        return Ok(());
    }
    let base =
        DOCKERFILE.lines().find_map(|line| line.strip_prefix("FROM ")).unwrap_or_default().trim();
    progress.step("looking for a registry");
    let why = match tokio::time::timeout(REGISTRY, from_registry(engine, base, progress)).await {
        Ok(Ok(())) => {
            progress.step("installing the libraries");
            return install(engine, base, "registry").await;
        }
        Ok(Err(error)) => cellblock_exec::with_causes(&error),
        Err(_) => format!("the registry did not deliver {base} in {} s", REGISTRY.as_secs()),
    };
    from_debian(engine, progress).await.map_err(|error| Error::Start {
        what: format!("the making of image {DEFAULT}"),
        source: format!(
            "from Debian's packages: {}; from a registry: {why}",
            cellblock_exec::with_causes(&error)
        )
        .into(),
    })
}

fn failed(why: impl Into<String>) -> Error {
    Error::Start { what: format!("the making of image {DEFAULT}"), source: why.into().into() }
}

/// Makes the image from Debian's packages.
async fn from_debian(engine: &Engine, progress: &dyn Progress) -> Result<()> {
    let work = tempfile::tempdir().map_err(|error| failed(error.to_string()))?;
    let archive = work.path().join("root.tar");
    bootstrap(&archive, progress).await?;
    progress.step("importing");
    import(engine, &archive, progress).await?;
    progress.step("installing the libraries");
    let root = format!("{ROOT}:{}", tag());
    let made = install(engine, &root, "debian").await;
    // The image goes on to use its layers.
    let _ = engine.docker.remove_image(&root, None::<RemoveImageOptions>, None).await;
    made
}

/// Runs the recipe for a root, which becomes the file `archive`.
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
        format!("the recipe ended with {ended}")
    } else {
        errors.join("; ")
    }))
}

async fn import(engine: &Engine, archive: &Path, progress: &dyn Progress) -> Result<()> {
    let broken = |error: io::Error| failed(error.to_string());
    let file = tokio::fs::File::open(archive).await.map_err(broken)?;
    let total = file.metadata().await.map_err(broken)?.len();
    // What has been read is told between the engine's answers, of which there is only one at the end: so it is polled.
    let (sender, mut read) = tokio::sync::watch::channel(0u64);
    let body = ReaderStream::with_capacity(file, 256 * 1024)
        .inspect_ok(move |chunk| sender.send_modify(|read| *read += chunk.len() as u64));
    let options = CreateImageOptions {
        from_src: Some("-".to_owned()),
        repo: Some(ROOT.to_owned()),
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

/// What the program is told.
#[derive(Serialize)]
struct Task {
    requirements: &'static str,
    environment: HashMap<String, String>,
    certificates: Option<String>,
}

/// Installs the requirements into a root, and makes the image of both, as the Dockerfile says. It is not left to the
/// engine's build, which would know neither this machine's authorities nor its settings of pip.
async fn install(engine: &Engine, root: &str, recipe: &str) -> Result<()> {
    let mut body = program(
        root,
        vec!["-I".to_owned(), "-c".to_owned(), PREPARE.to_owned()],
        &engine.owner.label(),
    );
    body.user = Some("0:0".to_owned());
    body.working_dir = Some("/".to_owned());
    body.host_config = Some(HostConfig {
        network_mode: Some("bridge".to_owned()),
        readonly_rootfs: Some(false),
        ..hardened()
    });
    let task = Task {
        requirements: REQUIREMENTS,
        environment: pip::settings(),
        certificates: pip::certificates(),
    };
    let input = serde_json::to_vec(&task).map_err(|error| failed(error.to_string()))?;
    let finished = job::run(engine, body, None, input, DEADLINE).await?;
    if finished.code != 0 {
        return Err(failed(pip::why(&String::from_utf8_lossy(&finished.stderr), finished.code)));
    }
    let options = CommitContainerOptions {
        container: Some(finished.container.id.to_string()),
        repo: Some(REPOSITORY.to_owned()),
        tag: Some(tag()),
        changes: Some("ENTRYPOINT []\nCMD [\"python3\"]\nUSER 65534:65534\nWORKDIR /".to_owned()),
        ..CommitContainerOptions::default()
    };
    let labels = [(RECIPE, recipe), (LANGUAGES, IMAGE_LANGUAGES), (OWNER, "")];
    let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let config =
        ContainerConfig { labels: Some(HashMap::from(labels)), ..ContainerConfig::default() };
    let committed = engine.patient().commit_container(options, config).await;
    committed.map_err(|error| start(format!("the making of image {DEFAULT}"), &error))?;
    finished.container.remove().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dockerfile_says_the_same_as_the_recipe() {
        assert!(DOCKERFILE.contains(&format!("{LANGUAGES}={IMAGE_LANGUAGES}")));
        assert!(DOCKERFILE.contains(&format!("{RECIPE}=dockerfile")));
        assert_eq!(DOCKERFILE.lines().filter(|line| line.starts_with("FROM ")).count(), 1);
    }

    #[test]
    fn every_requirement_is_pinned_by_hash() {
        let text = REQUIREMENTS.replace("\\\n", " ");
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert!(lines.len() > 5);
        for line in lines {
            assert!(line.contains("==") && line.contains("--hash=sha256:"), "{line}");
        }
    }
}
