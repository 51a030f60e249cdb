//! The bytes of an answer, within the bounds of its connection.

use std::{pin::pin, time::Duration};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use reqwest::Response;
use tokio::time::{Instant, timeout_at};

use super::transport::{Transport, from_now};

/// The reason why the bytes of an answer ended too early.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The call as a whole took too long.
    #[error("the call took longer than {0:?}")]
    Late(Duration),
    /// No byte arrived for too long.
    #[error("no data arrived for {0:?}")]
    Idle(Duration),
    /// The answer is larger than allowed.
    #[error("the answer is larger than {} MiB", .0 >> 20)]
    TooLarge(usize),
    /// The connection broke.
    #[error("the connection broke")]
    Broken(#[source] reqwest::Error),
}

/// Returns the bytes as they arrive, until the end or until a bound is reached.
pub fn bytes(
    response: Response,
    transport: &Transport,
    deadline: Instant,
) -> impl Stream<Item = Result<Bytes, BodyError>> + Send {
    let Transport { idle_timeout, timeout, max_answer_bytes, .. } = *transport;
    stream::try_unfold((response, 0_usize), move |(mut response, read)| async move {
        let idle = from_now(idle_timeout);
        let chunk = match timeout_at(idle.min(deadline), response.chunk()).await {
            Err(_) if idle < deadline => return Err(BodyError::Idle(idle_timeout)),
            Err(_) => return Err(BodyError::Late(timeout)),
            // The address may be long, and the error around this one names it.
            Ok(Err(error)) => return Err(BodyError::Broken(error.without_url())),
            Ok(Ok(None)) => return Ok(None),
            Ok(Ok(Some(chunk))) => chunk,
        };
        let read = read.saturating_add(chunk.len());
        if read > max_answer_bytes {
            return Err(BodyError::TooLarge(max_answer_bytes));
        }
        Ok(Some((chunk, (response, read))))
    })
}

/// Collects at most `max` bytes.
pub async fn collect(
    bytes: impl Stream<Item = Result<Bytes, BodyError>>,
    max: usize,
) -> Result<Vec<u8>, BodyError> {
    let mut bytes = pin!(bytes);
    let mut all = Vec::new();
    while let Some(chunk) = bytes.next().await {
        let chunk = chunk?;
        all.extend_from_slice(&chunk[..chunk.len().min(max - all.len())]);
        if all.len() == max {
            break;
        }
    }
    Ok(all)
}
