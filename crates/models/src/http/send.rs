//! Sends a call, and sends it again where that may help.

use std::time::SystemTime;

use backon::{ExponentialBuilder, Retryable};
use cellblock_agents::{ModelError, TextSink};
use reqwest::{Client, Method, Request, header::CONTENT_TYPE};
use tokio::time::{Instant, timeout_at};
use tracing::{Instrument, Span, field};

use super::{
    body,
    call::{Call, PreparedCall},
    failure::{AttemptError, broken_answer, late, no_response, redirected, refused},
    framing::{self, Assemble, Framing},
    refusal::{Refusal, retry_after},
    transport::from_now,
};

/// The maximum of bytes that are read of an error's body.
const MAX_ERROR_BYTES: usize = 64 << 10;

/// Creates an empty answer; each attempt starts with a new one.
pub type NewAnswer = fn() -> Box<dyn Assemble>;

/// Sends a call until there is an answer, a failure is permanent, or the bounds are reached.
///
/// If a part of an answer was passed to `on_text`, the call is not sent again: the listener would
/// get that part twice.
pub async fn send(
    call: &Call<'_>,
    new_answer: NewAnswer,
    on_text: Option<&TextSink>,
) -> Result<Box<dyn Assemble>, ModelError> {
    let call = &call.prepare()?;
    let client = call.connection.client(&call.url)?;
    let transport = call.connection.transport();
    call.connection.wait_for_turn().await;
    let deadline = from_now(transport.timeout);
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
        async move {
            let turn = call.connection.wait_for_turn();
            if number > 1 && timeout_at(deadline, turn).await.is_err() {
                return Err(AttemptError::permanent(late(call, transport.timeout)));
            }
            attempt(call, client, deadline, new_answer(), on_text).await
        }
        .instrument(span)
    };
    let delays = ExponentialBuilder::new()
        .with_min_delay(transport.first_delay)
        .with_max_delay(transport.max_delay)
        .with_max_times(transport.retries as usize)
        .with_jitter();
    attempt
        .retry(delays)
        .sleep(tokio::time::sleep)
        .when(|failure: &AttemptError| failure.retry)
        .adjust(|failure, delay| {
            let wait = failure.wait.unwrap_or(delay?.min(transport.max_delay));
            let in_time = Instant::now().checked_add(wait).is_some_and(|then| then < deadline);
            (wait <= transport.max_delay && in_time).then_some(wait)
        })
        .notify(|failure, wait| {
            let error = &failure.error;
            tracing::debug!(provider = call.provider, %error, ?wait, "a model call is retried");
        })
        .await
        .map_err(|failure| failure.error)
}

async fn attempt(
    call: &PreparedCall<'_>,
    client: &Client,
    deadline: Instant,
    mut answer: Box<dyn Assemble>,
    on_text: Option<&TextSink>,
) -> Result<Box<dyn Assemble>, AttemptError> {
    let transport = call.connection.transport();
    let mut request = Request::new(Method::POST, call.url.clone());
    *request.headers_mut() = call.headers.clone();
    *request.body_mut() = Some(call.body.clone().into());
    let response = match timeout_at(deadline, client.execute(request)).await {
        Err(_) => return Err(AttemptError::permanent(late(call, transport.timeout))),
        Ok(Err(error)) => return Err(no_response(call, error)),
        Ok(Ok(response)) => response,
    };
    let status = response.status();
    Span::current().record("http.response.status_code", status.as_u16());
    if status.is_redirection() {
        return Err(AttemptError::permanent(redirected(call, &response)));
    }
    let headers = response.headers().clone();
    let bytes = body::bytes(response, transport, deadline);
    if !status.is_success() {
        // A part of the reason is enough.
        let body = body::collect(bytes, MAX_ERROR_BYTES).await.unwrap_or_default();
        let wait = retry_after(&headers, SystemTime::now());
        return Err(refused(call, &Refusal::from_body(status, &body), wait));
    }
    let mut was_heard = false;
    let mut notify = |text: &str| {
        if let Some(on_text) = on_text.filter(|_| !text.is_empty()) {
            was_heard = true;
            on_text(text);
        }
    };
    // A server that cannot stream answers at once, even if a stream was requested. A web page is
    // no stream either.
    let media_type = headers.get(CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    let at_once =
        media_type.starts_with(b"application/json") || media_type.starts_with(b"text/html");
    let result = match call.framing {
        Framing::Events if !at_once => framing::read_events(&mut *answer, bytes, &mut notify).await,
        // Lines of JSON are often labelled as JSON, and an answer at once is one such line.
        Framing::Lines => framing::read_lines(&mut *answer, bytes, &mut notify).await,
        Framing::Whole | Framing::Events => {
            let result = framing::read_whole(&mut *answer, bytes).await;
            if result.is_ok() {
                notify(answer.text());
            }
            result
        }
    };
    match result {
        Ok(()) => Ok(answer),
        Err(error) => {
            let failure = broken_answer(call, error, answer.text());
            Err(AttemptError { retry: failure.retry && !was_heard, ..failure })
        }
    }
}
