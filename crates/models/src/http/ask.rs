//! Asks, and asks again where that may help.

use std::{
    error::Error,
    io,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, SystemTime},
};

use backon::{ExponentialBuilder, Retryable};
use bytes::Bytes;
use cellblock_agents::{ModelError, TextSink};
use reqwest::{
    Client, Method, Request, Response, Url,
    header::{CONTENT_TYPE, HeaderMap, LOCATION},
};
use secrecy::SecretString;
use tokio::time::{Instant, timeout_at};
use tracing::{Instrument, Span, field};

use super::{
    Connection, Refusal,
    connection::is_loopback,
    cut::{self, Cut},
    pieces::{self, Assemble, Fault},
    refusal::retry_after,
    secrets::shown,
    transport::from_now,
};

/// The most bytes of an error's body that are read.
const MAX_ERROR_BYTES: usize = 64 << 10;

/// A request, ready to be sent as often as needed.
pub(crate) struct Call<'a> {
    pub(crate) provider: &'a str,
    pub(crate) connection: &'a Connection,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) framing: Framing,
    /// What no message may show.
    pub(crate) secrets: Vec<&'a SecretString>,
}

/// How the answer is to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// At once.
    Whole,
    /// As server-sent events.
    Events,
    /// As lines of JSON.
    Lines,
}

/// Why an attempt failed, and whether another may succeed.
struct Failure {
    error: ModelError,
    again: bool,
    wait: Option<Duration>,
}

impl Failure {
    fn last(error: ModelError) -> Self {
        Self { error, again: false, wait: None }
    }

    fn passing(error: ModelError) -> Self {
        Self { error, again: true, wait: None }
    }
}

/// Asks until there is an answer, the failure is one that lasts, or the bounds are reached. An answer of which somebody has heard
/// a part is not asked for again: they would hear it twice.
pub(crate) async fn ask<A: Assemble>(
    call: &Call<'_>,
    on_text: Option<&TextSink>,
) -> Result<A, ModelError> {
    let client = call.connection.client(&call.url)?;
    let transport = call.connection.transport();
    call.connection.turn().await;
    let deadline = from_now(transport.timeout);
    let heard = AtomicBool::new(false);
    let mut attempts = 0_u32;
    let attempt = || {
        attempts += 1;
        let number = attempts;
        let span = tracing::debug_span!(
            "http.request",
            http.request.method = "POST",
            server.address = call.url.host_str(),
            server.port = call.url.port_or_known_default(),
            url.path = call.url.path(),
            http.request.resend_count = number - 1,
            http.response.status_code = field::Empty,
        );
        let heard = &heard;
        async move {
            if number > 1 && timeout_at(deadline, call.connection.turn()).await.is_err() {
                return Err(Failure::last(late(call, transport.timeout)));
            }
            attempt::<A>(call, client, deadline, on_text, heard).await
        }
        .instrument(span)
    };
    let delays = ExponentialBuilder::new()
        .with_min_delay(transport.first_delay)
        .with_max_delay(transport.longest_delay)
        .with_max_times(transport.retries as usize)
        .with_jitter();
    attempt
        .retry(delays)
        .sleep(tokio::time::sleep)
        .when(|failure: &Failure| failure.again && !heard.load(Ordering::Relaxed))
        .adjust(|failure, delay| {
            let wait = failure.wait.unwrap_or(delay?.min(transport.longest_delay));
            let in_time = Instant::now().checked_add(wait).is_some_and(|then| then < deadline);
            (wait <= transport.longest_delay && in_time).then_some(wait)
        })
        .notify(|failure, wait| {
            tracing::debug!(provider = call.provider, error = %failure.error, ?wait, "a model call is tried again");
        })
        .await
        .map_err(|failure| failure.error)
}

async fn attempt<A: Assemble>(
    call: &Call<'_>,
    client: &Client,
    deadline: Instant,
    on_text: Option<&TextSink>,
    heard: &AtomicBool,
) -> Result<A, Failure> {
    let transport = call.connection.transport();
    let mut request = Request::new(Method::POST, call.url.clone());
    *request.headers_mut() = call.headers.clone();
    *request.body_mut() = Some(call.body.clone().into());
    let response = match timeout_at(deadline, client.execute(request)).await {
        Err(_) => return Err(Failure::last(late(call, transport.timeout))),
        Ok(Err(error)) => return Err(no_answer(call, error)),
        Ok(Ok(response)) => response,
    };
    let status = response.status();
    Span::current().record("http.response.status_code", status.as_u16());
    if status.is_redirection() {
        return Err(Failure::last(redirected(call, &response)));
    }
    let headers = response.headers().clone();
    let bytes = cut::bytes(response, transport, deadline);
    if !status.is_success() {
        // What can be read of the reason is enough.
        let body = pieces::collect(bytes, MAX_ERROR_BYTES).await.unwrap_or_default();
        return Err(refused(
            call,
            &Refusal::from_body(status, &body),
            retry_after(&headers, SystemTime::now()),
        ));
    }
    let mut answer = A::default();
    let mut say = |text: &str| {
        if let Some(on_text) = on_text.filter(|_| !text.is_empty()) {
            heard.store(true, Ordering::Relaxed);
            on_text(text);
        }
    };
    // Servers that cannot stream answer at once, even if they were asked to; a web page is no stream either.
    let kind = headers.get(CONTENT_TYPE).map_or(&b""[..], |kind| kind.as_bytes());
    let at_once = kind.starts_with(b"application/json") || kind.starts_with(b"text/html");
    let done = match call.framing {
        Framing::Events if !at_once => pieces::events(&mut answer, bytes, &mut say).await,
        // Lines of JSON are often called JSON, and an answer that comes at once is one line of it.
        Framing::Lines => pieces::lines(&mut answer, bytes, &mut say).await,
        Framing::Whole | Framing::Events => {
            let done = pieces::whole(&mut answer, bytes).await;
            if done.is_ok() {
                say(answer.text());
            }
            done
        }
    };
    match done {
        Ok(()) => Ok(answer),
        Err(fault) => Err(broken_off(call, fault, answer.text())),
    }
}

/// What a fault in the middle of an answer is.
fn broken_off(call: &Call<'_>, fault: Fault, received: &str) -> Failure {
    let interrupted = |source| ModelError::Interrupted {
        provider: call.provider.to_owned(),
        received: received.to_owned(),
        source,
    };
    match fault {
        Fault::Malformed(what) => Failure::last(malformed(call, &what)),
        Fault::Refused(refusal) => {
            let failure = refused(call, &refusal, None);
            // What was received is worth more than another kind of error.
            let error = if received.is_empty() {
                failure.error
            } else {
                interrupted(Some(Box::new(failure.error) as _))
            };
            Failure { error, ..failure }
        }
        Fault::Unfinished => Failure::passing(interrupted(None)),
        Fault::Cut(Cut::Large(most)) => {
            Failure::last(malformed(call, &Cut::Large(most).to_string()))
        }
        Fault::Cut(Cut::Late(after)) if received.is_empty() => Failure::last(late(call, after)),
        Fault::Cut(Cut::Silent(after)) if received.is_empty() => {
            Failure::passing(late(call, after))
        }
        Fault::Cut(cut) => Failure::passing(interrupted(Some(Box::new(cut)))),
    }
}

fn refused(call: &Call<'_>, refusal: &Refusal, wait: Option<Duration>) -> Failure {
    Failure {
        error: refusal.error(call.provider, wait, &call.secrets),
        again: refusal.may_pass(),
        wait,
    }
}

fn late(call: &Call<'_>, after: Duration) -> ModelError {
    ModelError::Timeout { provider: call.provider.to_owned(), after }
}

fn malformed(call: &Call<'_>, what: &str) -> ModelError {
    ModelError::Malformed { provider: call.provider.to_owned(), what: shown(what, &call.secrets) }
}

/// There was no answer at all.
fn no_answer(call: &Call<'_>, error: reqwest::Error) -> Failure {
    let error = error.without_url();
    let provider = call.provider.to_owned();
    if !error.is_connect() {
        let source = Some(Box::new(error) as _);
        return Failure::passing(ModelError::Interrupted {
            provider,
            received: String::new(),
            source,
        });
    }
    // Where nobody listens on this machine, nobody will in a second.
    let again = !(is_loopback(&call.url) && is_refused(&error));
    let address = call.url.origin().ascii_serialization();
    Failure {
        error: ModelError::Connect { provider, address, source: Box::new(error) },
        again,
        wait: None,
    }
}

fn is_refused(error: &(dyn Error + 'static)) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
        || error.source().is_some_and(is_refused)
}

/// Redirects are not followed: the conversation and the key are for the server that was named.
fn redirected(call: &Call<'_>, response: &Response) -> ModelError {
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
