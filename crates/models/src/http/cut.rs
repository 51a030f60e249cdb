//! The bytes of an answer, within its bounds.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, stream};
use reqwest::Response;
use tokio::time::{Instant, timeout_at};

use super::transport::{Transport, from_now};

/// Why an answer's bytes ended before it was whole.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Cut {
    /// The whole call took too long.
    #[error("the call took longer than {0:?}")]
    Late(Duration),
    /// Nothing came for too long.
    #[error("nothing came for {0:?}")]
    Silent(Duration),
    /// More came than is read.
    #[error("the answer is larger than {} MiB", .0 >> 20)]
    Large(usize),
    /// The connection broke.
    #[error("the connection broke")]
    Broken(#[source] reqwest::Error),
}

/// The bytes as they come, until the end or a bound.
pub(super) fn bytes(
    response: Response,
    transport: &Transport,
    deadline: Instant,
) -> impl Stream<Item = Result<Bytes, Cut>> + Send {
    let Transport { silence, timeout, max_answer_bytes, .. } = *transport;
    stream::try_unfold((response, 0_usize), move |(mut response, read)| async move {
        let quiet = from_now(silence);
        let chunk = match timeout_at(quiet.min(deadline), response.chunk()).await {
            Err(_) if quiet < deadline => return Err(Cut::Silent(silence)),
            Err(_) => return Err(Cut::Late(timeout)),
            // The address may be long and says nothing that the error around it does not say.
            Ok(Err(error)) => return Err(Cut::Broken(error.without_url())),
            Ok(Ok(None)) => return Ok(None),
            Ok(Ok(Some(chunk))) => chunk,
        };
        let read = read.saturating_add(chunk.len());
        if read > max_answer_bytes {
            return Err(Cut::Large(max_answer_bytes));
        }
        Ok(Some((chunk, (response, read))))
    })
}
