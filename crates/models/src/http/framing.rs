//! The framing of answers (whole, events or lines), and how a provider's answer is assembled.

use std::{pin::pin, time::Duration};

use bytes::Bytes;
use cellblock_agents::Completion;
use futures_util::{Stream, StreamExt};
use sse_stream::SseByteStream;

use super::{
    body::{BodyError, collect},
    refusal::Refusal,
};

/// The form in which an answer is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// One JSON document.
    Whole,
    /// Server-sent events.
    Events,
    /// Lines of JSON.
    Lines,
}

/// Receives text while an answer is assembled.
pub type OnText<'a> = dyn FnMut(&str) + Send + 'a;

/// A provider's answer while it is assembled. Each attempt has a new one.
pub trait Assemble: Send {
    /// Adds an answer that arrived at once.
    fn add_whole(&mut self, json: &[u8]) -> Result<(), AnswerError>;

    /// Adds the JSON of the next event or line, and passes its text to `on_text`.
    fn add_piece(
        &mut self,
        json: &str,
        on_text: &mut OnText<'_>,
    ) -> Result<StreamState, AnswerError>;

    /// Returns the text so far.
    fn text(&self) -> &str;

    /// Checks that nothing is missing. It is called once, after the last piece or where the bytes
    /// ended.
    fn finish(&mut self) -> Result<(), AnswerError>;

    /// Returns the cost in US dollars, if the server reports it.
    fn reported_cost(&self) -> Option<f64> {
        None
    }

    /// Converts the answer of the requested `model`; without its cost.
    fn into_completion(self: Box<Self>, model: &str) -> Completion;
}

/// The state of a stream after a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamState {
    /// More pieces follow.
    Open,
    /// That was the last piece.
    Ended,
}

/// The reason why an answer cannot be assembled.
#[derive(Debug)]
pub enum AnswerError {
    /// It is not what the API promises.
    Malformed(String),
    /// It reports that the request failed.
    Refused(Refusal),
    /// It ended before it was complete.
    Unfinished,
    /// Its bytes ended too early.
    Body(BodyError),
}

impl AnswerError {
    /// The error for JSON that cannot be parsed.
    pub fn json(error: &serde_json::Error, json: &[u8]) -> Self {
        if json.iter().all(u8::is_ascii_whitespace) {
            return AnswerError::Malformed("it is empty".to_owned());
        }
        let head = String::from_utf8_lossy(&json[..json.len().min(400)]);
        let start = head.trim_start();
        if start.starts_with('<') {
            return AnswerError::Malformed(format!(
                "it is a web page; is the base address right? It begins: {start}"
            ));
        }
        AnswerError::Malformed(format!("{error}. It begins: {start}"))
    }
}

/// Assembles an answer that arrives at once.
pub async fn read_whole(
    answer: &mut dyn Assemble,
    bytes: impl Stream<Item = Result<Bytes, BodyError>>,
) -> Result<(), AnswerError> {
    let body = collect(bytes, usize::MAX).await.map_err(AnswerError::Body)?;
    answer.add_whole(&body)?;
    answer.finish()
}

/// Assembles an answer that arrives as server-sent events.
pub async fn read_events(
    answer: &mut dyn Assemble,
    bytes: impl Stream<Item = Result<Bytes, BodyError>>,
    on_text: &mut OnText<'_>,
) -> Result<(), AnswerError> {
    let mut events = pin!(SseByteStream::new(bytes));
    while let Some(event) = events.next().await {
        let event = event.map_err(|error| match error {
            sse_stream::Error::Body(source) => match source.downcast::<BodyError>() {
                Ok(error) => AnswerError::Body(*error),
                Err(other) => AnswerError::Malformed(other.to_string()),
            },
            other => AnswerError::Malformed(other.to_string()),
        })?;
        let Some(data) = event.data.filter(|data| !data.trim().is_empty()) else { continue };
        if answer.add_piece(&data, on_text)? == StreamState::Ended {
            drain(events).await;
            break;
        }
    }
    answer.finish()
}

/// Assembles an answer that arrives as lines of JSON.
pub async fn read_lines(
    answer: &mut dyn Assemble,
    bytes: impl Stream<Item = Result<Bytes, BodyError>>,
    on_text: &mut OnText<'_>,
) -> Result<(), AnswerError> {
    let mut bytes = pin!(bytes);
    let mut rest: Vec<u8> = Vec::new();
    let mut is_open = true;
    while is_open {
        let searched = rest.len();
        match bytes.next().await {
            Some(chunk) => rest.extend_from_slice(&chunk.map_err(AnswerError::Body)?),
            None => {
                // The last line may lack a line break.
                is_open = false;
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
            let line = std::str::from_utf8(line)
                .map_err(|error| AnswerError::Malformed(error.to_string()))?;
            if answer.add_piece(line, on_text)? == StreamState::Ended {
                drain(bytes).await;
                return answer.finish();
            }
        }
        rest.drain(..start);
    }
    answer.finish()
}

/// Reads the bytes after the last piece, for a moment: a connection can be reused only if its body
/// was read to the end.
async fn drain<T>(mut rest: impl Stream<Item = T> + Unpin) {
    let end = async { while rest.next().await.is_some() {} };
    let _ = tokio::time::timeout(Duration::from_millis(20), end).await;
}

#[cfg(test)]
mod tests;
