//! The installation of packages: in a container of their own, which has a network and runs no code
//! of the session.
//!
//! The result is kept as a layer on the session's image, so that the next session with the same
//! request needs no network.

use std::{collections::HashMap, time::Duration};

use bollard::{
    body_try_stream,
    models::{ContainerConfig, ContainerCreateBody, HostConfig},
    query_parameters::{
        CommitContainerOptions, DownloadFromContainerOptions, UploadToContainerOptions,
    },
};
use bytes::Bytes;
use cellblock_exec::{Error, Requirement, Result, with_causes};
use futures_util::TryStreamExt;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::{
    container::Container,
    engine::Engine,
    failure::{is_missing, reason},
    flags::{PACKAGES, hardened, program},
    job,
    names::{OWNER_LABEL, PACKAGES_LABEL, PACKAGES_REPOSITORY, hash},
    pip::{self, PipTask},
    session_image::SessionImage,
};

/// The version of the format of layers. A change makes older layers unused.
const FORMAT: &str = "2";
/// The program of an installation.
const PROGRAM: &str = concat!(include_str!("pip.py"), include_str!("install.py"));
/// The maximum time of an installation, for a large wheel over a slow line.
const DEADLINE: Duration = Duration::from_secs(30 * 60);
/// The memory limit of an installation, in bytes, for a solver with many candidates.
const MEMORY: i64 = 2 * 1024 * 1024 * 1024;
/// The user of an installation. It differs from the user of cells, so that they cannot change the
/// packages.
const USER: u32 = 65533;
/// The maximum number of processes of an installation: pip alone, or a build.
const PROCESSES: i64 = 256;

/// Held during an installation, so that two sessions with the same request install once.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// The packages that a session has installed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InstalledPackages {
    /// All requirements so far, sorted.
    pub requirements: Vec<Requirement>,
    /// All installed packages, as `name==version`.
    pub packages: Vec<String>,
}

/// The packages that a session is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedPackages {
    pub requirements: Vec<Requirement>,
    /// Packages that the session may have loaded: they keep their version unless another one is
    /// requested by name.
    constraints: Vec<String>,
    /// The latest request, for messages.
    request: String,
}

/// A layer with packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageLayer {
    /// The image that contains it.
    image: String,
    /// Its directory, in the image and in the session's container.
    pub directory: String,
    /// Its packages, as `name==version`.
    pub packages: Vec<String>,
    request: String,
}

impl InstalledPackages {
    /// Returns the packages that the session is to have after a request.
    pub fn with(&self, packages: &[Requirement]) -> WantedPackages {
        let names: Vec<&str> = packages.iter().map(|package| package.name.as_str()).collect();
        let mut requirements: Vec<Requirement> = packages.to_vec();
        // A new request for a package replaces an earlier one.
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
        let request = packages.iter().map(Requirement::to_string).collect::<Vec<_>>().join(" ");
        WantedPackages { requirements, constraints, request }
    }

    /// Returns the packages of a layer that the session does not have.
    pub fn new_in(&self, layer: &PackageLayer) -> Vec<String> {
        layer.packages.iter().filter(|package| !self.packages.contains(package)).cloned().collect()
    }
}

/// The input of the program.
#[derive(Serialize)]
struct InstallTask<'a> {
    #[serde(flatten)]
    pip: PipTask,
    directory: &'a str,
    requirements: Vec<String>,
    constraints: &'a [String],
    source_builds: bool,
}

/// The output of the program.
#[derive(Deserialize)]
struct InstallOutput {
    packages: Vec<String>,
}

/// Returns the layer with the wanted packages, and makes it if the engine does not have it.
pub async fn layer(
    engine: &Engine,
    image: &SessionImage,
    wanted: &WantedPackages,
    source_builds: bool,
) -> Result<PackageLayer> {
    let requirements: Vec<String> =
        wanted.requirements.iter().map(Requirement::to_string).collect();
    let parts = [
        FORMAT,
        &image.id,
        if source_builds { "source" } else { "wheels" },
        &requirements.join("\n"),
        &wanted.constraints.join("\n"),
    ];
    let hash = hash(&parts.join("\0"))[..32].to_owned();
    let directory = format!("{PACKAGES}/{hash}");
    let name = format!("{PACKAGES_REPOSITORY}:{hash}");
    let failed = |why: String| Error::Install { packages: wanted.request.clone(), why };
    let _guard = ONE_AT_A_TIME.lock().await;
    if let Some(packages) = find_layer(engine, &name).await.map_err(failed)? {
        return Ok(PackageLayer {
            image: name,
            directory,
            packages,
            request: wanted.request.clone(),
        });
    }
    let task = InstallTask {
        pip: PipTask::here(format!("{directory}.work")),
        directory: &directory,
        requirements,
        constraints: &wanted.constraints,
        source_builds,
    };
    // Over the standard input and not in the container's environment: the password of an index must
    // not get into the layer.
    let input = serde_json::to_vec(&task).map_err(|error| failed(error.to_string()))?;
    let body = install_container(image, engine.owner.label());
    let files = packages_directory().map_err(|error| failed(error.to_string()))?;
    let finished = job::run(engine, body, Some(files), input, DEADLINE)
        .await
        .map_err(|error| failed(with_causes(&error)))?;
    if finished.code != 0 {
        return Err(failed(pip::reason(&finished.stderr_text(), finished.code)));
    }
    let output: InstallOutput = serde_json::from_slice(&finished.stdout)
        .map_err(|error| failed(format!("pip ended before it finished ({error})")))?;
    commit(engine, &finished.container, &hash, &output.packages).await.map_err(failed)?;
    finished.container.remove().await?;
    Ok(PackageLayer {
        image: name,
        directory,
        packages: output.packages,
        request: wanted.request.clone(),
    })
}

/// Returns the packages of a layer; `None` if the engine does not have it.
async fn find_layer(engine: &Engine, name: &str) -> Result<Option<Vec<String>>, String> {
    let found = match engine.docker.inspect_image(name).await {
        Ok(found) => found,
        Err(error) if is_missing(&error) => return Ok(None),
        Err(error) => return Err(reason(&error)),
    };
    let labels = found.config.and_then(|config| config.labels).unwrap_or_default();
    // A layer whose label is damaged is made anew.
    Ok(labels.get(PACKAGES_LABEL).and_then(|label| serde_json::from_str(label).ok()))
}

/// Returns the container of an installation. Its root is writable and becomes the layer; but its
/// user can write to the directory of packages only.
fn install_container(image: &SessionImage, owner: String) -> ContainerCreateBody {
    let arguments = ["-I", "-c", PROGRAM].map(str::to_owned).to_vec();
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
        ..program(&image.id, arguments, &owner)
    }
}

/// Returns an archive with the directory of packages, to which anybody may write.
fn packages_directory() -> std::io::Result<Bytes> {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Directory);
    header.set_mode(0o1777);
    header.set_size(0);
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_data(&mut header, PACKAGES.trim_start_matches('/'), std::io::empty())?;
    archive.into_inner().map(Bytes::from)
}

/// Makes a layer of a container.
async fn commit(
    engine: &Engine,
    container: &Container,
    hash: &str,
    packages: &[String],
) -> Result<(), String> {
    let options = CommitContainerOptions {
        container: Some(container.id.to_string()),
        repo: Some(PACKAGES_REPOSITORY.to_owned()),
        tag: Some(hash.to_owned()),
        pause: false,
        ..CommitContainerOptions::default()
    };
    let label = serde_json::to_string(packages).map_err(|error| error.to_string())?;
    // The owner is the container's, not the layer's.
    let labels = HashMap::from([
        (PACKAGES_LABEL.to_owned(), label),
        (OWNER_LABEL.to_owned(), String::new()),
    ]);
    let config = ContainerConfig { labels: Some(labels), ..ContainerConfig::default() };
    engine
        .patient()
        .commit_container(options, config)
        .await
        .map(|_| ())
        .map_err(|error| reason(&error))
}

/// Copies a layer into a running container, as a stream from one container to the other.
pub async fn copy_layer(engine: &Engine, layer: &PackageLayer, container: &str) -> Result<()> {
    let failed = |why: String| Error::Install { packages: layer.request.clone(), why };
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
    let uploaded =
        docker.upload_to_container(container, Some(upload), body_try_stream(archive)).await;
    uploaded.map_err(|error| {
        failed(format!("they cannot be copied into the session: {}", reason(&error)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requirement(text: &str) -> Requirement {
        text.parse().unwrap()
    }

    #[test]
    fn installed_packages_keep_their_versions() {
        let installed = InstalledPackages {
            requirements: vec![requirement("humanize<5"), requirement("tabulate")],
            packages: vec!["humanize==4.9.0".to_owned(), "tabulate==0.9.0".to_owned()],
        };
        let wanted = installed.with(&[requirement("sympy")]);
        assert_eq!(
            wanted.requirements,
            vec![requirement("humanize<5"), requirement("sympy"), requirement("tabulate")]
        );
        assert_eq!(wanted.constraints, installed.packages);
        let wanted = installed.with(&[requirement("humanize==5")]);
        assert_eq!(wanted.requirements, vec![requirement("humanize==5"), requirement("tabulate")]);
        assert_eq!(wanted.constraints, ["tabulate==0.9.0"]);
    }
}
