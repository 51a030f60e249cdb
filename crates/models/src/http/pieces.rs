//! Answers as they come: whole, as events or as lines, and how they are put together.

use std::pin::pin;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use sse_stream::SseByteStream;

use super::{Refusal, cut::Cut};

/// Receives text while an answer is put together.
pub(crate) type Say<'a> = dyn FnMut(&str) + Send + 'a;

/// How a provider's answer is put together. It is made anew for each attempt.
pub(crate) trait Assemble: Default + Send {
    /// Takes an answer that came at once.
    fn whole(&mut self, json: &[u8]) -> Result<(), Fault>;

    /// Takes the next piece of an answer that comes bit by bit: the JSON of an event or of a line. Its text is said.
    fn piece(&mut self, json: &str, say: &mut Say<'_>) -> Result<Flow, Fault>;

    /// The text so far.
    fn text(&self) -> &str;

    /// Checks that nothing is missing, after the last piece or where the answer ended without one.
    fn end(&mut self) -> Result<(), Fault>;
}

/// Whether more pieces are to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// More.
    More,
    /// That was the last one.
    Done,
}

/// Why an answer cannot be put together.
#[derive(Debug)]
pub(crate) enum Fault {
    /// It is not what the API promises.
    Malformed(String),
    /// It says that the request failed.
    Refused(Refusal),
    /// It ended before it was whole.
    Unfinished,
    /// Its bytes ended too early.
    Cut(Cut),
}

impl Fault {
    /// JSON that cannot be read.
    pub(crate) fn json(error: &serde_json::Error, json: &[u8]) -> Self {
        if json.iter().all(u8::is_ascii_whitespace) {
            return Fault::Malformed("it is empty".to_owned());
        }
        let head = String::from_utf8_lossy(&json[..json.len().min(400)]);
        let start = head.trim_start();
        if start.starts_with('<') {
            return Fault::Malformed(format!(
                "it is a web page; is the base address right? It begins: {start}"
            ));
        }
        Fault::Malformed(format!("{error}. It begins: {start}"))
    }
}

/// Puts an answer together that comes at once.
pub(super) async fn whole<A: Assemble>(
    answer: &mut A,
    bytes: impl Stream<Item = Result<Bytes, Cut>>,
) -> Result<(), Fault> {
    let body = collect(bytes, usize::MAX).await.map_err(Fault::Cut)?;
    answer.whole(&body)?;
    answer.end()
}

/// The bytes in one piece, up to a number of them.
pub(super) async fn collect(
    bytes: impl Stream<Item = Result<Bytes, Cut>>,
    most: usize,
) -> Result<Vec<u8>, Cut> {
    let mut bytes = pin!(bytes);
    let mut all = Vec::new();
    while let Some(chunk) = bytes.next().await {
        let chunk = chunk?;
        all.extend_from_slice(&chunk[..chunk.len().min(most - all.len())]);
        if all.len() == most {
            break;
        }
    }
    Ok(all)
}

/// Puts an answer together that comes as server-sent events.
pub(super) async fn events<A: Assemble>(
    answer: &mut A,
    bytes: impl Stream<Item = Result<Bytes, Cut>>,
    say: &mut Say<'_>,
) -> Result<(), Fault> {
    let mut events = pin!(SseByteStream::new(bytes));
    while let Some(event) = events.next().await {
        let event = event.map_err(|error| match error {
            sse_stream::Error::Body(source) => match source.downcast::<Cut>() {
                Ok(cut) => Fault::Cut(*cut),
                Err(other) => Fault::Malformed(other.to_string()),
            },
            other => Fault::Malformed(other.to_string()),
        })?;
        let Some(data) = event.data.filter(|data| !data.trim().is_empty()) else { continue };
        if answer.piece(&data, say)? == Flow::Done {
            finish_body(events).await;
            break;
        }
    }
    answer.end()
}

/// Puts an answer together that comes as lines of JSON.
pub(super) async fn lines<A: Assemble>(
    answer: &mut A,
    bytes: impl Stream<Item = Result<Bytes, Cut>>,
    say: &mut Say<'_>,
) -> Result<(), Fault> {
    let mut bytes = pin!(bytes);
    let mut rest: Vec<u8> = Vec::new();
    let mut more = true;
    while more {
        let searched = rest.len();
        match bytes.next().await {
            Some(chunk) => rest.extend_from_slice(&chunk.map_err(Fault::Cut)?),
            None => {
                // The last line may have no end.
                more = false;
                rest.push(b'\n');
            }
        }
        let mut start = 0;
        let ends = rest
            .iter()
            .enumerate()
            .skip(searched)
            .filter(|(_, byte)| **byte == b'\n')
            .map(|(at, _)| at);
        for end in ends {
            let line = rest[start..end].trim_ascii();
            start = end + 1;
            if line.is_empty() {
                continue;
            }
            let line =
                std::str::from_utf8(line).map_err(|error| Fault::Malformed(error.to_string()))?;
            if answer.piece(line, say)? == Flow::Done {
                finish_body(bytes).await;
                return answer.end();
            }
        }
        rest.drain(..start);
    }
    answer.end()
}

/// Reads what follows the last piece, if it is there: only a body that was read to its end leaves a connection that can be used
/// again.
async fn finish_body<T>(mut rest: impl Stream<Item = T> + Unpin) {
    let end = async { while rest.next().await.is_some() {} };
    let _ = tokio::time::timeout(std::time::Duration::from_millis(20), end).await;
}

#[cfg(test)]
#[path = "pieces_tests.rs"]
mod tests;
