//! The meaning of a failed attempt: the error for the caller, and the chances of another attempt.

use std::{error::Error, io, time::Duration};

use cellblock_agents::ModelError;
use reqwest::{Response, header::LOCATION};

use super::{
    body::BodyError, call::PreparedCall, connection::is_loopback, framing::AnswerError,
    refusal::Refusal, secrets::shown,
};

/// A failed attempt.
pub struct AttemptError {
    pub error: ModelError,
    /// True if another attempt may succeed.
    pub retry: bool,
    /// The wait that the provider asks for.
    pub wait: Option<Duration>,
}

impl AttemptError {
    pub fn permanent(error: ModelError) -> Self {
        Self { error, retry: false, wait: None }
    }

    fn transient(error: ModelError) -> Self {
        Self { error, retry: true, wait: None }
    }
}

/// The failure that an error in the middle of an answer is.
pub fn broken_answer(call: &PreparedCall<'_>, error: AnswerError, received: &str) -> AttemptError {
    let interrupted = |source| ModelError::Interrupted {
        provider: call.provider.to_owned(),
        received: received.to_owned(),
        source,
    };
    match error {
        AnswerError::Malformed(what) => AttemptError::permanent(malformed(call, &what)),
        AnswerError::Refused(refusal) => {
            let failure = refused(call, &refusal, None);
            // The received text is worth more than a precise kind of error.
            let error = if received.is_empty() {
                failure.error
            } else {
                interrupted(Some(Box::new(failure.error) as _))
            };
            AttemptError { error, ..failure }
        }
        AnswerError::Unfinished => AttemptError::transient(interrupted(None)),
        AnswerError::Body(error @ BodyError::TooLarge(_)) => {
            AttemptError::permanent(malformed(call, &error.to_string()))
        }
        AnswerError::Body(BodyError::Late(after)) if received.is_empty() => {
            AttemptError::permanent(late(call, after))
        }
        AnswerError::Body(BodyError::Idle(after)) if received.is_empty() => {
            AttemptError::transient(late(call, after))
        }
        AnswerError::Body(error) => AttemptError::transient(interrupted(Some(Box::new(error)))),
    }
}

/// The failure that a refusal by the provider is.
pub fn refused(call: &PreparedCall<'_>, refusal: &Refusal, wait: Option<Duration>) -> AttemptError {
    AttemptError {
        error: refusal.error(call.provider, wait, &call.secrets),
        retry: refusal.is_transient(),
        wait,
    }
}

/// The error for a call that took too long.
pub fn late(call: &PreparedCall<'_>, after: Duration) -> ModelError {
    ModelError::Timeout { provider: call.provider.to_owned(), after }
}

fn malformed(call: &PreparedCall<'_>, what: &str) -> ModelError {
    ModelError::Malformed { provider: call.provider.to_owned(), what: shown(what, &call.secrets) }
}

/// The failure of a request without any response.
pub fn no_response(call: &PreparedCall<'_>, error: reqwest::Error) -> AttemptError {
    let error = error.without_url();
    let provider = call.provider.to_owned();
    if !error.is_connect() {
        let source = Some(Box::new(error) as _);
        return AttemptError::transient(ModelError::Interrupted {
            provider,
            received: String::new(),
            source,
        });
    }
    // A port of this machine without a listener will have none in a second either.
    let retry = !(is_loopback(&call.url) && is_refused_connection(&error));
    let address = call.url.origin().ascii_serialization();
    let error = ModelError::Connect { provider, address, source: Box::new(error) };
    AttemptError { error, retry, wait: None }
}

fn is_refused_connection(error: &(dyn Error + 'static)) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
        || error.source().is_some_and(is_refused_connection)
}

/// The error for a redirect. Redirects are not followed: the conversation and the key are meant
/// for the server that the caller named.
pub fn redirected(call: &PreparedCall<'_>, response: &Response) -> ModelError {
    let target = response
        .headers()
        .get(LOCATION)
        .and_then(|target| target.to_str().ok())
        .unwrap_or("nowhere");
    let message = format!("it redirects to {target}; if that is right, make it the base address");
    ModelError::Status {
        provider: call.provider.to_owned(),
        status: response.status().as_u16(),
        message: shown(&message, &call.secrets),
    }
}
