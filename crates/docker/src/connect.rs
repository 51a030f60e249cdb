//! The choice of an engine, as the `docker` command makes it.
//!
//! `DOCKER_HOST` comes first, then the context (`DOCKER_CONTEXT`, or the current one of
//! `config.json`), then the sockets that engines make: the system's Docker, a rootless Docker,
//! Docker Desktop, Podman.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use cellblock_exec::{Error, Result};
use serde::Deserialize;

use crate::names::hash;

/// The part of the environment that the choice of an engine depends on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DockerEnvironment {
    /// `DOCKER_HOST`.
    pub host: Option<String>,
    /// `DOCKER_CONTEXT`.
    pub context: Option<String>,
    /// `DOCKER_CONFIG`: the directory of `config.json` and `contexts`; by default `.docker` in the
    /// home directory.
    pub config: Option<PathBuf>,
    /// True if `DOCKER_TLS_VERIFY` is set: then `DOCKER_HOST` is reached through TLS.
    pub tls: bool,
    /// `DOCKER_CERT_PATH`: the directory of `ca.pem`, `cert.pem` and `key.pem`; by default the one
    /// of `config.json`.
    pub certificates: Option<PathBuf>,
    /// The home directory.
    pub home: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`.
    pub runtime: Option<PathBuf>,
}

impl DockerEnvironment {
    /// Returns the environment of this process.
    pub fn of_process() -> Self {
        // The docker command treats an empty variable like a missing one.
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let directory = |name| variable(name).map(PathBuf::from);
        Self {
            host: variable("DOCKER_HOST"),
            context: variable("DOCKER_CONTEXT"),
            config: directory("DOCKER_CONFIG"),
            tls: variable("DOCKER_TLS_VERIFY").is_some(),
            certificates: directory("DOCKER_CERT_PATH"),
            home: directory("HOME"),
            runtime: directory("XDG_RUNTIME_DIR"),
        }
    }

    fn config_directory(&self) -> Option<PathBuf> {
        self.config.clone().or_else(|| Some(self.home.as_ref()?.join(".docker")))
    }
}

/// The address of an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A Unix socket.
    Socket(PathBuf),
    /// TCP without encryption: `host:port`.
    Tcp(String),
    /// TLS.
    Tls {
        /// `host:port`.
        address: String,
        /// The directory with `ca.pem`, `cert.pem` and `key.pem`.
        certificates: PathBuf,
    },
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Socket(path) => write!(f, "unix://{}", path.display()),
            Address::Tcp(address) => write!(f, "tcp://{address}"),
            Address::Tls { address, .. } => write!(f, "tcp://{address} (TLS)"),
        }
    }
}

/// An endpoint of an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Its address.
    pub address: Address,
    /// The source of the address, such as `DOCKER_HOST`, for messages.
    pub origin: String,
}

/// Returns the endpoints to try, in order. If the environment names one, it is the only one;
/// otherwise these are the default sockets, whether they exist or not.
///
/// # Errors
/// [`Error::Unsupported`] for a scheme that is not supported; [`Error::Invalid`] for an invalid
/// host or context; [`Error::Storage`] for a configuration that cannot be read.
pub fn endpoints(environment: &DockerEnvironment) -> Result<Vec<Endpoint>> {
    if let Some(host) = &environment.host {
        let certificates =
            || environment.certificates.clone().or_else(|| environment.config_directory());
        let tls = if environment.tls { certificates() } else { None };
        let address = address(host, tls)?;
        return Ok(vec![Endpoint { address, origin: "DOCKER_HOST".to_owned() }]);
    }
    match context_name(environment)? {
        Some(name) => context(environment, &name).map(|endpoint| vec![endpoint]),
        None => Ok(default_sockets(environment)),
    }
}

fn default_sockets(environment: &DockerEnvironment) -> Vec<Endpoint> {
    let mut sockets = vec![(PathBuf::from("/var/run/docker.sock"), "Docker")];
    if let Some(runtime) = &environment.runtime {
        sockets.push((runtime.join("docker.sock"), "rootless Docker"));
    }
    if let Some(home) = &environment.home {
        sockets.push((home.join(".docker/run/docker.sock"), "Docker Desktop"));
    }
    if let Some(runtime) = &environment.runtime {
        sockets.push((runtime.join("podman/podman.sock"), "rootless Podman"));
    }
    sockets.push((PathBuf::from("/run/podman/podman.sock"), "Podman"));
    let endpoint = |(path, origin): (PathBuf, &str)| Endpoint {
        address: Address::Socket(path),
        origin: origin.to_owned(),
    };
    sockets.into_iter().map(endpoint).collect()
}

/// Parses a host as in `DOCKER_HOST`. `tls` is the directory of the certificates.
fn address(host: &str, tls: Option<PathBuf>) -> Result<Address> {
    let (scheme, rest) = host.split_once("://").unwrap_or(("tcp", host));
    let network = |tls: Option<PathBuf>| {
        let address = rest.split('/').next().unwrap_or_default();
        if address.is_empty() {
            return Err(Error::Invalid {
                what: "DOCKER_HOST",
                why: format!("`{host}` names no host"),
            });
        }
        let has_port =
            address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        // The default ports of the docker command.
        let port = if tls.is_some() { 2376 } else { 2375 };
        let address = if has_port { address.to_owned() } else { format!("{address}:{port}") };
        Ok(match tls {
            Some(certificates) => Address::Tls { address, certificates },
            None => Address::Tcp(address),
        })
    };
    match scheme {
        "unix" if rest.starts_with('/') => Ok(Address::Socket(PathBuf::from(rest))),
        "unix" => {
            let why = format!("`{host}` has no absolute path; write it as unix:///run/docker.sock");
            Err(Error::Invalid { what: "DOCKER_HOST", why })
        }
        "tcp" | "http" => network(tls),
        "https" => match tls {
            Some(certificates) => network(Some(certificates)),
            None => {
                let why = format!(
                    "`{host}` needs certificates; set DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH"
                );
                Err(Error::Invalid { what: "DOCKER_HOST", why })
            }
        },
        "ssh" => Err(Error::Unsupported(format!(
            "`{host}`: ssh is not supported; forward the engine's socket with \
             `ssh -nNT -L /tmp/docker.sock:/var/run/docker.sock HOST` and set \
             DOCKER_HOST=unix:///tmp/docker.sock"
        ))),
        _ => Err(Error::Unsupported(format!(
            "`{host}`: only unix:// and tcp:// are supported; set DOCKER_HOST to one of them"
        ))),
    }
}

/// The part of `config.json` that names the current context.
#[derive(Deserialize)]
struct ConfigFile {
    #[serde(rename = "currentContext")]
    current_context: Option<String>,
}

/// Returns the context in use; `None` for the default one, which is no context at all.
fn context_name(environment: &DockerEnvironment) -> Result<Option<String>> {
    let mut name = environment.context.clone();
    if let (None, Some(directory)) = (&name, environment.config_directory()) {
        name = read::<ConfigFile>(&directory.join("config.json"))?
            .and_then(|config| config.current_context);
    }
    Ok(name.filter(|name| !name.is_empty() && name != "default"))
}

/// The content of a context's `meta.json`.
#[derive(Deserialize)]
struct ContextMeta {
    #[serde(rename = "Endpoints", default)]
    endpoints: ContextEndpoints,
}

#[derive(Deserialize, Default)]
struct ContextEndpoints {
    docker: Option<DockerEndpoint>,
}

#[derive(Deserialize)]
struct DockerEndpoint {
    #[serde(rename = "Host")]
    host: Option<String>,
}

/// Reads a context.
fn context(environment: &DockerEnvironment, name: &str) -> Result<Endpoint> {
    let invalid = |why: String| Error::Invalid { what: "Docker context", why };
    let unknown =
        || invalid(format!("there is no context `{name}`; `docker context ls` lists all contexts"));
    let directory = environment.config_directory().ok_or_else(unknown)?.join("contexts");
    // The docker command names a context's directory by a hash, so that any name will do.
    let hash = hash(name);
    let meta: ContextMeta =
        read(&directory.join("meta").join(&hash).join("meta.json"))?.ok_or_else(unknown)?;
    let host = meta.endpoints.docker.and_then(|endpoint| endpoint.host);
    let host =
        host.ok_or_else(|| invalid(format!("the context `{name}` has no Docker endpoint")))?;
    let certificates = directory.join("tls").join(&hash).join("docker");
    let tls = certificates.is_dir().then_some(certificates);
    Ok(Endpoint { address: address(&host, tls)?, origin: format!("the context {name}") })
}

/// Reads a JSON file. Returns `None` if it does not exist.
fn read<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<Option<T>> {
    let storage =
        |doing, source| Error::Storage { doing, path: path.display().to_string(), source };
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(storage("read", error.into())),
    };
    serde_json::from_slice(&text).map(Some).map_err(|error| storage("parse", error.into()))
}
