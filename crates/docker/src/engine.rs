//! A connection to a Docker engine.

use std::{io, time::Duration};

use bollard::{API_DEFAULT_VERSION, Docker, errors::Error as ApiError, models::SystemInfo};
use cellblock_exec::{BoxFuture, Error, Result, with_causes};

use crate::{
    connect::{Address, DockerEnvironment, Endpoint, endpoints},
    failure::io_error,
    owner::Owner,
};

/// The maximum time of an ordinary request, in seconds. An engine on a slow disk needs that to make
/// a container.
const TIMEOUT: u64 = 120;
/// The maximum time of a request that waits for an event: a year. An unlimited duration would
/// overflow the clock.
const PATIENCE: Duration = Duration::from_secs(365 * 24 * 3600);

/// A Docker engine.
#[derive(Debug, Clone)]
pub struct Engine {
    pub(crate) docker: Docker,
    pub(crate) endpoint: Endpoint,
    pub(crate) info: SystemInfo,
    /// The owner of everything that this process makes there.
    pub(crate) owner: Owner,
}

impl Engine {
    /// Connects as the `docker` command does.
    ///
    /// # Errors
    /// As [`endpoints`]; [`Error::Start`] when no engine answers or it denies access, with advice
    /// in the message; [`Error::Unsupported`] for Podman.
    pub fn connect() -> BoxFuture<'static, Result<Self>> {
        Box::pin(async { Self::connect_in(&DockerEnvironment::of_process()).await })
    }

    /// Connects as the `docker` command does in this environment.
    ///
    /// # Errors
    /// As [`Engine::connect`].
    pub fn connect_in(environment: &DockerEnvironment) -> BoxFuture<'_, Result<Self>> {
        Box::pin(async move {
            let candidates = endpoints(environment)?;
            let mut first_refusal = None;
            for endpoint in &candidates {
                match Self::reach(endpoint).await {
                    Ok(engine) => return Ok(engine),
                    // A socket that exists but cannot be used tells more than a missing one.
                    Err(unreached) if unreached.exists || candidates.len() == 1 => {
                        first_refusal.get_or_insert(unreached.error);
                    }
                    Err(_) => {}
                }
            }
            Err(first_refusal.unwrap_or_else(|| {
                let sockets: Vec<String> =
                    candidates.iter().map(|endpoint| endpoint.address.to_string()).collect();
                let why = format!(
                    "none of {} exists; install and start Docker, or set DOCKER_HOST",
                    sockets.join(", ")
                );
                unreachable("no Docker engine is running", why)
            }))
        })
    }

    /// Connects to the engine at an endpoint.
    async fn reach(endpoint: &Endpoint) -> Result<Self, Unreached> {
        if let Address::Socket(path) = &endpoint.address {
            // The client's own error does not distinguish a missing socket from a denied one.
            std::fs::metadata(path).map_err(|error| Unreached {
                exists: error.kind() != io::ErrorKind::NotFound,
                error: refused(endpoint, &error),
            })?;
        }
        let failed =
            |error: ApiError| Unreached { exists: true, error: not_reached(endpoint, error) };
        let docker = client(endpoint)
            .map_err(|error| Unreached { exists: true, error })?
            .negotiate_version()
            .await
            .map_err(failed)?;
        let info = docker.info().await.map_err(failed)?;
        let version = docker.version().await.map_err(failed)?;
        let mut components = version.components.iter().flatten();
        if components.any(|component| component.name.contains("Podman")) {
            // Tried with 4.3.1.
            let error = Error::Unsupported(format!(
                "the engine at {} is Podman, whose API supports neither a limit on the number of \
                 files nor a system call filter for a container; use a Docker engine",
                endpoint.address
            ));
            return Err(Unreached { exists: true, error });
        }
        Ok(Self { docker, endpoint: endpoint.clone(), info, owner: Owner::of_process() })
    }

    /// Returns a client for requests that answer only when something has happened.
    pub(crate) fn patient(&self) -> Docker {
        self.docker.clone().with_timeout(PATIENCE)
    }

    /// Returns the engine's endpoint.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Returns true if the engine filters system calls of containers.
    pub(crate) fn has_seccomp(&self) -> bool {
        let options = self.info.security_options.iter().flatten();
        options
            .filter(|option| option.contains("name=seccomp"))
            .any(|option| !option.contains("unconfined"))
    }

    /// Returns true if the engine runs without root.
    pub(crate) fn is_rootless(&self) -> bool {
        self.info.security_options.iter().flatten().any(|option| option.contains("name=rootless"))
    }
}

/// The failure to connect to one endpoint.
struct Unreached {
    error: Error,
    /// True if something exists at the address.
    exists: bool,
}

fn client(endpoint: &Endpoint) -> Result<Docker> {
    let made = match &endpoint.address {
        Address::Socket(path) => {
            Docker::connect_with_unix(&path.display().to_string(), TIMEOUT, API_DEFAULT_VERSION)
        }
        Address::Tcp(address) => {
            Docker::connect_with_http(&format!("tcp://{address}"), TIMEOUT, API_DEFAULT_VERSION)
        }
        #[cfg(feature = "tls")]
        Address::Tls { address, certificates } => Docker::connect_with_ssl(
            &format!("tcp://{address}"),
            &certificates.join("key.pem"),
            &certificates.join("cert.pem"),
            &certificates.join("ca.pem"),
            TIMEOUT,
            API_DEFAULT_VERSION,
        ),
        #[cfg(not(feature = "tls"))]
        Address::Tls { address, .. } => {
            return Err(Error::Unsupported(format!(
                "the engine at {address} requires TLS, and this program is built without it; build \
                 it with the feature `tls`, or reach the engine through a socket"
            )));
        }
    };
    made.map_err(|error| not_reached(endpoint, error))
}

/// Returns the error for an engine that does not answer.
fn not_reached(endpoint: &Endpoint, error: ApiError) -> Error {
    if let Some(cause) = io_error(&error) {
        return refused(endpoint, cause);
    }
    let text = match &error {
        ApiError::DockerResponseServerError { message, .. } => message.clone(),
        other => with_causes(other),
    };
    let hint = if text.contains("HTTPS server") {
        "; it requires TLS: set DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH"
    } else {
        ""
    };
    unreachable(
        "the Docker engine does not answer",
        format!("{} ({}): {text}{hint}", endpoint.address, endpoint.origin),
    )
}

/// Returns the error for an endpoint that the operating system refuses.
fn refused(endpoint: &Endpoint, error: &io::Error) -> Error {
    let place = format!("{} ({})", endpoint.address, endpoint.origin);
    match error.kind() {
        io::ErrorKind::PermissionDenied => unreachable(
            "no permission to use the Docker engine",
            format!(
                "{place} denies you access; add yourself to the group docker and log in again, or \
                 use a rootless engine"
            ),
        ),
        io::ErrorKind::NotFound => unreachable(
            "no Docker engine is running",
            format!("{place} does not exist; start the engine or correct it"),
        ),
        io::ErrorKind::ConnectionRefused => unreachable(
            "no Docker engine is running",
            format!("nobody listens at {place}; start the engine or correct it"),
        ),
        _ => unreachable("the Docker engine does not answer", format!("{place}: {error}")),
    }
}

fn unreachable(what: &str, why: String) -> Error {
    Error::Start { what: format!("a container: {what}"), source: why.into() }
}
