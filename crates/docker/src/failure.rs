//! The failures of an engine, as errors for people.

use std::io;

use bollard::errors::Error as ApiError;
use cellblock_exec::{Error, with_causes};

/// Returns the error of something that does not start.
pub fn start_error(what: impl Into<String>, error: &ApiError) -> Error {
    Error::Start { what: what.into(), source: reason(error).into() }
}

/// Returns true if an engine's error means that the thing does not exist.
pub fn is_missing(error: &ApiError) -> bool {
    matches!(error, ApiError::DockerResponseServerError { status_code: 404, .. })
}

/// Returns the reason of an engine's error for people.
pub fn reason(error: &ApiError) -> String {
    let text = match error {
        ApiError::DockerResponseServerError { message, .. } => message.trim().to_owned(),
        ApiError::DockerStreamError { error } => error.trim().to_owned(),
        other => match io_error(other) {
            Some(cause) => format!("the engine cannot be reached any more: {cause}"),
            None if is_transport(other) => {
                format!("the engine cannot be reached any more: {}", with_causes(other))
            }
            None => with_causes(other),
        },
    };
    if text.contains("no space left on device") {
        return format!(
            "the engine's disk is full; free some space, as with `docker system prune` ({text})"
        );
    }
    if text.contains("\"python3\": executable file not found") {
        return format!("the image has no python3, which sessions need ({text})");
    }
    text
}

/// Returns the error of the operating system behind an error of the client.
pub fn io_error<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a io::Error> {
    let mut error = Some(error);
    while let Some(current) = error {
        // This error displays itself as its cause, and `source` skips it.
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

/// Returns true for an error of the connection.
fn is_transport(error: &ApiError) -> bool {
    matches!(
        error,
        ApiError::HyperLegacyError { .. }
            | ApiError::HyperResponseError { .. }
            | ApiError::RequestTimeoutError
    )
}
