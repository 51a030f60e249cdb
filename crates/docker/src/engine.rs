//! A connection to an engine, and what its failures mean.

use std::{io, time::Duration};

use bollard::{API_DEFAULT_VERSION, Docker, errors::Error as ApiError, models::SystemInfo};
use cellblock_exec::{Error, Result};

use crate::{
    connect::{Address, Endpoint, Surroundings, endpoints},
    owner::Owner,
};

/// How long an ordinary request may take, in seconds: an engine on a slow disk needs its time to make a container.
const TIMEOUT: u64 = 120;

/// An engine.
#[derive(Debug, Clone)]
pub struct Engine {
    pub(crate) docker: Docker,
    pub(crate) endpoint: Endpoint,
    pub(crate) info: SystemInfo,
    /// Whom what we make there belongs to.
    pub(crate) owner: Owner,
}

impl Engine {
    /// Connects as the `docker` command does.
    ///
    /// # Errors
    /// As [`endpoints`]; [`Error::Start`] when no engine answers, or it may not be used: the message
    /// says what to do; [`Error::Unsupported`] for Podman.
    pub async fn connect() -> Result<Self> {
        Self::connect_in(&Surroundings::here()).await
    }

    /// Connects as the `docker` command would with these surroundings.
    ///
    /// # Errors
    /// As [`Engine::connect`].
    pub async fn connect_in(surroundings: &Surroundings) -> Result<Self> {
        let candidates = endpoints(surroundings)?;
        let mut refusal = None;
        for endpoint in &candidates {
            match Self::reach(endpoint).await {
                Ok(engine) => return Ok(engine),
                // A socket that is there but cannot be used tells more than one that is not there.
                Err(error) if error.1 || candidates.len() == 1 => {
                    refusal.get_or_insert(error.0);
                }
                Err(_) => {}
            }
        }
        Err(refusal.unwrap_or_else(|| {
            let sockets: Vec<String> =
                candidates.iter().map(|endpoint| endpoint.address.to_string()).collect();
            unreachable(
                "no Docker engine is running",
                format!(
                    "none of {} exists; install and start Docker, or set DOCKER_HOST",
                    sockets.join(", ")
                ),
            )
        }))
    }

    /// Connects to one engine. The error comes with whether there is something at its address.
    async fn reach(endpoint: &Endpoint) -> Result<Self, (Error, bool)> {
        if let Address::Socket(path) = &endpoint.address {
            // Looked at first: the client's own error does not tell a missing socket from one out of reach.
            std::fs::metadata(path).map_err(|error| {
                let exists = error.kind() != io::ErrorKind::NotFound;
                (refused(endpoint, &error), exists)
            })?;
        }
        let failed = |error: ApiError| (not_reached(endpoint, error), true);
        let docker = client(endpoint)
            .map_err(|error| (error, true))?
            .negotiate_version()
            .await
            .map_err(failed)?;
        let info = docker.info().await.map_err(failed)?;
        let version = docker.version().await.map_err(failed)?;
        let mut components = version.components.iter().flatten();
        if components.any(|component| component.name.contains("Podman")) {
            // Tried with 4.3.1.
            return Err((
                Error::Unsupported(format!(
                    "the engine at {} is Podman, whose interface takes neither a limit on the \
                     number of files nor a filter of system calls with a container; use a Docker \
                     engine",
                    endpoint.address
                )),
                true,
            ));
        }
        let (endpoint, owner) = (endpoint.clone(), Owner::here());
        Ok(Self { docker, endpoint, info, owner })
    }

    /// A client that waits as long as it takes, for requests that answer when something has happened.
    pub(crate) fn patient(&self) -> Docker {
        // A year; a duration without end would overflow the clock.
        self.docker.clone().with_timeout(Duration::from_secs(365 * 24 * 3600))
    }

    /// Where the engine is.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Whether the engine filters system calls of containers.
    pub(crate) fn has_seccomp(&self) -> bool {
        let options = self.info.security_options.iter().flatten();
        options
            .filter(|option| option.contains("name=seccomp"))
            .any(|option| !option.contains("unconfined"))
    }

    /// Whether the engine runs without root.
    pub(crate) fn is_rootless(&self) -> bool {
        self.info.security_options.iter().flatten().any(|option| option.contains("name=rootless"))
    }
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
                "the engine at {address} wants TLS, and this program is built without it; build it with the feature \
                 `tls`, or reach the engine through a socket"
            )));
        }
    };
    made.map_err(|error| not_reached(endpoint, error))
}

/// The error for an engine that does not answer.
fn not_reached(endpoint: &Endpoint, error: ApiError) -> Error {
    if let Some(cause) = io_error(&error) {
        return refused(endpoint, cause);
    }
    let text = match &error {
        ApiError::DockerResponseServerError { message, .. } => message.clone(),
        other => cellblock_exec::with_causes(other),
    };
    let hint = if text.contains("HTTPS server") {
        "; it wants TLS: set DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH"
    } else {
        ""
    };
    unreachable(
        "the Docker engine does not answer",
        format!("{} ({}): {text}{hint}", endpoint.address, endpoint.origin),
    )
}

fn refused(endpoint: &Endpoint, error: &io::Error) -> Error {
    let place = format!("{} ({})", endpoint.address, endpoint.origin);
    match error.kind() {
        io::ErrorKind::PermissionDenied => unreachable(
            "no permission to use the Docker engine",
            format!(
                "{place} is closed to you; add yourself to the group docker and log in anew, or use a rootless engine"
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

/// The error of the operating system behind an error of the client.
fn io_error<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a io::Error> {
    let mut error = Some(error);
    while let Some(current) = error {
        // This one shows itself as its cause, and would be skipped.
        if let Some(ApiError::IOError { err }) = current.downcast_ref::<ApiError>() {
            return Some(err);
        }
        if let Some(found) = current.downcast_ref::<io::Error>() {
            return Some(found);
        }
        error = current.source();
    }
    None
}

/// Whether an engine's error means that the thing is not there.
pub(crate) fn is_missing(error: &ApiError) -> bool {
    matches!(error, ApiError::DockerResponseServerError { status_code: 404, .. })
}

/// Whether an error is one of the connection.
fn is_transport(error: &ApiError) -> bool {
    matches!(
        error,
        ApiError::HyperLegacyError { .. }
            | ApiError::HyperResponseError { .. }
            | ApiError::RequestTimeoutError
    )
}

/// What an engine's error means for a person.
pub(crate) fn reason(error: &ApiError) -> String {
    let text = match error {
        ApiError::DockerResponseServerError { message, .. } => message.trim().to_owned(),
        ApiError::DockerStreamError { error } => error.trim().to_owned(),
        other => match io_error(other) {
            Some(cause) => format!("the engine cannot be reached any more: {cause}"),
            None if is_transport(other) => {
                format!(
                    "the engine cannot be reached any more: {}",
                    cellblock_exec::with_causes(other)
                )
            }
            None => cellblock_exec::with_causes(other),
        },
    };
    if text.contains("no space left on device") {
        return format!(
            "the engine's disk is full; make room, as with `docker system prune` ({text})"
        );
    }
    if text.contains("\"python3\": executable file not found") {
        return format!("the image has no python3, which sessions need ({text})");
    }
    text
}

/// The error when something does not start.
pub(crate) fn start(what: impl Into<String>, error: &ApiError) -> Error {
    Error::Start { what: what.into(), source: reason(error).into() }
}
