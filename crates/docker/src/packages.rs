//! Installing packages: in a container of their own, which has a network and runs no code of the session, and kept as a
//! layer on the session's image, so that the next session that asks for the same needs no network.

use std::{collections::HashMap, time::Duration};

use bollard::{
    body_try_stream,
    models::{ContainerConfig, ContainerCreateBody, HostConfig},
    query_parameters::{
        CommitContainerOptions, DownloadFromContainerOptions, UploadToContainerOptions,
    },
};
use bytes::Bytes;
use cellblock_exec::{Error, Requirement, Result};
use futures_util::TryStreamExt;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;

use crate::{
    connect::hex,
    container::Container,
    engine::{Engine, is_missing, reason},
    flags::{PACKAGES, hardened, program},
    image::Image,
    job,
    owner::OWNER,
    pip,
};

/// Raised when the way packages are stored changes.
const FORMAT: &str = "2";
/// The repository of the layers.
pub(crate) const REPOSITORY: &str = "cellblock-packages";
/// The label with a layer's packages, as a JSON list of `name==version`.
pub(crate) const LABEL: &str = "cellblock.packages";
/// The program that runs pip.
const PROGRAM: &str = include_str!("install.py");
/// How long an installation may take: a large wheel over a slow line.
const DEADLINE: Duration = Duration::from_secs(30 * 60);
/// The memory of an installation, in bytes: a solver with many candidates.
const MEMORY: i64 = 2 * 1024 * 1024 * 1024;
/// The user of an installation. It is not the one of cells, so that these cannot change what it has made.
const USER: u32 = 65533;
/// The processes of an installation: pip alone, or a build.
const PROCESSES: i64 = 256;

/// Two sessions that ask for the same at once make it once.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// What a session has installed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Present {
    /// All that was asked for, sorted.
    pub(crate) requirements: Vec<Requirement>,
    /// All that was installed, as `name==version`.
    pub(crate) packages: Vec<String>,
}

/// What a session will have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) requirements: Vec<Requirement>,
    /// Packages that the session may have loaded: they keep their version unless another one is asked for by name.
    constraints: Vec<String>,
    /// What was asked for last, for messages.
    asked: String,
}

/// A layer with packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layer {
    /// The image that has it.
    image: String,
    /// Its directory, in the image and in the session's container.
    pub(crate) directory: String,
    /// What is in it, as `name==version`.
    pub(crate) packages: Vec<String>,
    asked: String,
}

impl Present {
    /// What the session will have with these packages.
    pub(crate) fn with(&self, packages: &[Requirement]) -> Wanted {
        let names: Vec<&str> = packages.iter().map(|package| package.name.as_str()).collect();
        let mut requirements: Vec<Requirement> = packages.to_vec();
        // A package that is asked for again is meant as it is asked for now.
        requirements.extend(
            self.requirements.iter().filter(|old| !names.contains(&old.name.as_str())).cloned(),
        );
        requirements.sort();
        requirements.dedup();
        let name =
            |package: &str| package.split("==").next().unwrap_or_default().replace(['_', '.'], "-");
        let constraints = self
            .packages
            .iter()
            .filter(|package| !names.contains(&name(package).as_str()))
            .cloned()
            .collect();
        let asked = packages.iter().map(Requirement::to_string).collect::<Vec<_>>().join(" ");
        Wanted { requirements, constraints, asked }
    }

    /// What a layer has that the session has not.
    pub(crate) fn news(&self, layer: &Layer) -> Vec<String> {
        layer.packages.iter().filter(|package| !self.packages.contains(package)).cloned().collect()
    }
}

/// What the program is told.
#[derive(Serialize)]
struct Task<'a> {
    directory: &'a str,
    requirements: Vec<String>,
    constraints: &'a [String],
    source_builds: bool,
    environment: HashMap<String, String>,
    certificates: Option<String>,
}

/// What the program tells.
#[derive(Deserialize)]
struct Told {
    packages: Vec<String>,
}

/// The layer with what is wanted; it is made if it is not there.
pub(crate) async fn layer(
    engine: &Engine,
    image: &Image,
    wanted: &Wanted,
    source_builds: bool,
) -> Result<Layer> {
    let requirements: Vec<String> =
        wanted.requirements.iter().map(Requirement::to_string).collect();
    let parts = [
        FORMAT,
        &image.id,
        if source_builds { "source" } else { "wheels" },
        &requirements.join("\n"),
        &wanted.constraints.join("\n"),
    ];
    let hash = hex(&Sha256::digest(parts.join("\0").as_bytes()))[..32].to_owned();
    let directory = format!("{PACKAGES}/{hash}");
    let name = format!("{REPOSITORY}:{hash}");
    let failed = |why: String| Error::Install { packages: wanted.asked.clone(), why };
    let _one = ONE_AT_A_TIME.lock().await;
    if let Some(packages) = cached(engine, &name).await.map_err(failed)? {
        return Ok(Layer { image: name, directory, packages, asked: wanted.asked.clone() });
    }
    let task = Task {
        directory: &directory,
        requirements,
        constraints: &wanted.constraints,
        source_builds,
        environment: pip::settings(),
        certificates: pip::certificates(),
    };
    // Over the standard input and not in the container's environment: an index's password must not end in the layer.
    let input = serde_json::to_vec(&task).map_err(|error| failed(error.to_string()))?;
    let body = installing(image, engine.owner.label());
    let finished = job::run(
        engine,
        body,
        Some(place().map_err(|error| failed(error.to_string()))?),
        input,
        DEADLINE,
    )
    .await
    .map_err(|error| failed(cellblock_exec::with_causes(&error)))?;
    if finished.code != 0 {
        return Err(failed(pip::why(&String::from_utf8_lossy(&finished.stderr), finished.code)));
    }
    let told: Told = serde_json::from_slice(&finished.stdout)
        .map_err(|error| failed(format!("pip ended in the middle ({error})")))?;
    commit(engine, &finished.container, &hash, &told.packages).await.map_err(failed)?;
    finished.container.remove().await?;
    Ok(Layer { image: name, directory, packages: told.packages, asked: wanted.asked.clone() })
}

/// The packages of a layer that is there.
async fn cached(engine: &Engine, name: &str) -> Result<Option<Vec<String>>, String> {
    let found = match engine.docker.inspect_image(name).await {
        Ok(found) => found,
        Err(error) if is_missing(&error) => return Ok(None),
        Err(error) => return Err(reason(&error)),
    };
    let labels = found.config.and_then(|config| config.labels).unwrap_or_default();
    // One whose label is damaged is made anew.
    Ok(labels.get(LABEL).and_then(|label| serde_json::from_str(label).ok()))
}

/// The container of an installation. Its root is writable, which is what becomes the layer; but its user can write to the
/// directory of packages only.
fn installing(image: &Image, owner: String) -> ContainerCreateBody {
    let program =
        program(&image.id, vec!["-I".to_owned(), "-c".to_owned(), PROGRAM.to_owned()], &owner);
    ContainerCreateBody {
        user: Some(format!("{USER}:{USER}")),
        working_dir: Some("/".to_owned()),
        host_config: Some(HostConfig {
            network_mode: Some("bridge".to_owned()),
            readonly_rootfs: Some(false),
            memory: Some(MEMORY),
            memory_swap: Some(MEMORY),
            pids_limit: Some(PROCESSES),
            ..hardened()
        }),
        ..program
    }
}

/// The directory of packages, as an archive: anybody may write to it.
fn place() -> std::io::Result<Bytes> {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Directory);
    header.set_mode(0o1777);
    header.set_size(0);
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_data(&mut header, PACKAGES.trim_start_matches('/'), std::io::empty())?;
    archive.into_inner().map(Bytes::from)
}

async fn commit(
    engine: &Engine,
    container: &Container,
    hash: &str,
    packages: &[String],
) -> Result<(), String> {
    let options = CommitContainerOptions {
        container: Some(container.id.to_string()),
        repo: Some(REPOSITORY.to_owned()),
        tag: Some(hash.to_owned()),
        pause: false,
        ..CommitContainerOptions::default()
    };
    let label = serde_json::to_string(packages).map_err(|error| error.to_string())?;
    // The owner is the container's, not the layer's.
    let labels = HashMap::from([(LABEL.to_owned(), label), (OWNER.to_owned(), String::new())]);
    let config = ContainerConfig { labels: Some(labels), ..ContainerConfig::default() };
    engine
        .patient()
        .commit_container(options, config)
        .await
        .map(|_| ())
        .map_err(|error| reason(&error))
}

/// Brings a layer into a running container. It is streamed from one container to the other.
pub(crate) async fn bring(engine: &Engine, layer: &Layer, container: &str) -> Result<()> {
    let failed = |why: String| Error::Install { packages: layer.asked.clone(), why };
    let body = program(&layer.image, Vec::new(), &engine.owner.label());
    let source = Container::prepare(engine, body).await?;
    let docker = engine.patient();
    let download = DownloadFromContainerOptions { path: layer.directory.clone() };
    let archive =
        docker.download_from_container(&source.id, Some(download)).map_err(std::io::Error::other);
    let upload = UploadToContainerOptions {
        path: PACKAGES.to_owned(),
        ..UploadToContainerOptions::default()
    };
    let put = docker.upload_to_container(container, Some(upload), body_try_stream(archive)).await;
    put.map_err(|error| {
        failed(format!("they cannot be brought into the session: {}", reason(&error)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requirement(text: &str) -> Requirement {
        text.parse().unwrap()
    }

    #[test]
    fn what_a_session_has_stays_as_it_is() {
        let present = Present {
            requirements: vec![requirement("humanize<5"), requirement("tabulate")],
            packages: vec!["humanize==4.9.0".to_owned(), "tabulate==0.9.0".to_owned()],
        };
        let wanted = present.with(&[requirement("sympy")]);
        assert_eq!(
            wanted.requirements,
            vec![requirement("humanize<5"), requirement("sympy"), requirement("tabulate")]
        );
        assert_eq!(wanted.constraints, present.packages);
        let wanted = present.with(&[requirement("humanize==5")]);
        assert_eq!(wanted.requirements, vec![requirement("humanize==5"), requirement("tabulate")]);
        assert_eq!(wanted.constraints, ["tabulate==0.9.0"]);
    }
}
