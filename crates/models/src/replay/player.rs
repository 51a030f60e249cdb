//! The client that answers from a recording.

use std::{fmt, path::Path, sync::Mutex};

use async_trait::async_trait;
use cellblock_agents::{
    Completion, ModelClient, ModelError, ModelRequest, TextSink, scripted::stream_text,
};

use super::{
    format::{Exchange, Header, Made, VERSION},
    matching,
};
use crate::lock::locked;

/// A recording that answers instead of a server. Nothing leaves the machine.
///
/// Each exchange answers once: first those of exactly the request that comes, in order, then those whose `match` it
/// fits, in order. Usage and cost are those of the recording.
pub struct Replay {
    /// The header.
    pub header: Header,
    model: String,
    provider: String,
    exchanges: Vec<Exchange>,
    given: Mutex<Vec<bool>>,
}

impl Replay {
    /// Reads a recording from a file.
    ///
    /// # Errors
    /// [`ModelError::Start`] when it cannot be read or is no recording that this version understands.
    pub fn read(path: &Path) -> Result<Self, ModelError> {
        let bytes = std::fs::read(path).map_err(|error| ModelError::Start {
            what: format!("cannot read the recording {}", path.display()),
            source: Some(error.into()),
        })?;
        Self::parse(&bytes).map_err(|why| wrong(&path.display().to_string(), why))
    }

    /// Reads a recording from its text.
    ///
    /// # Errors
    /// [`ModelError::Start`] when it is no recording that this version understands.
    pub fn from_text(text: &str) -> Result<Self, ModelError> {
        Self::parse(text.as_bytes()).map_err(|why| wrong("given as text", why))
    }

    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let (header, exchanges) = parse(bytes)?;
        let first = exchanges.first();
        Ok(Self {
            header,
            model: first.map_or("recording", |exchange| &exchange.model).to_owned(),
            provider: first
                .map(|exchange| exchange.provider.clone())
                .filter(|name| !name.is_empty())
                .unwrap_or_else(|| "recording".to_owned()),
            given: Mutex::new(vec![false; exchanges.len()]),
            exchanges,
        })
    }

    /// How many exchanges have not been used.
    pub fn left(&self) -> usize {
        locked(&self.given).iter().filter(|given| !**given).count()
    }

    /// The exchange that answers a request; it is used from now on.
    fn take(&self, request: &ModelRequest) -> Result<&Exchange, ModelError> {
        let mut given = locked(&self.given);
        let unused = || self.exchanges.iter().enumerate().filter(|(at, _)| !given[*at]);
        let exact = unused().find(|(_, exchange)| matching::is_of(exchange, request));
        let fits = |exchange: &Exchange| {
            exchange.matching.as_ref().is_some_and(|wish| matching::fits(wish, request))
        };
        let found = exact.or_else(|| unused().find(|(_, exchange)| fits(exchange)));
        let Some((at, exchange)) = found else {
            let left: Vec<&Exchange> = unused().map(|(_, exchange)| exchange).collect();
            return Err(ModelError::Unanswered(matching::explain(
                request,
                &left,
                self.exchanges.len(),
            )));
        };
        given[at] = true;
        Ok(exchange)
    }
}

#[async_trait]
impl ModelClient for Replay {
    fn name(&self) -> &str {
        &self.model
    }

    fn provider(&self) -> &str {
        &self.provider
    }

    fn sees_images(&self) -> bool {
        self.header.sees_images
    }

    async fn complete(
        &self,
        request: &ModelRequest,
        on_text: Option<&TextSink>,
    ) -> Result<Completion, ModelError> {
        let exchange = self.take(request)?;
        match (&exchange.completion, &exchange.error) {
            (Some(completion), _) => {
                let completion = completion.completion(&exchange.model);
                stream_text(&completion.content, on_text);
                Ok(completion)
            }
            (None, Some(error)) => {
                let error = error.error(if exchange.provider.is_empty() {
                    &self.provider
                } else {
                    &exchange.provider
                });
                if let ModelError::Interrupted { received, .. } = &error {
                    stream_text(received, on_text);
                }
                Err(error)
            }
            // Refused when it is read.
            (None, None) => Err(ModelError::Unanswered(
                "the exchange in the recording has no answer".to_owned(),
            )),
        }
    }
}

impl fmt::Debug for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Replay");
        shown.field("header", &self.header).field("model", &self.model).field("left", &self.left());
        shown.finish_non_exhaustive()
    }
}

fn wrong(which: &str, why: String) -> ModelError {
    ModelError::Start { what: format!("the recording {which} cannot be used: {why}"), source: None }
}

/// Takes a recording apart. Any white space may stand between its values.
pub(super) fn parse(bytes: &[u8]) -> Result<(Header, Vec<Exchange>), String> {
    let text = text(bytes)?;
    let header = header(text)?;
    let mut exchanges = Vec::new();
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<serde_json::Value>();
    // The header, which is known to be one.
    values.next();
    loop {
        let place = values.byte_offset();
        // Counted only for a message: counting for each exchange would take quadratic time.
        let wrong = |why: &str| format!("line {}: {why}", line_at(text, place));
        let value = match values.next() {
            None if text.len() < bytes.len() && header.made == Made::ByHand => {
                return Err("it ends in the middle of a character".to_owned());
            }
            None => return Ok((header, exchanges)),
            Some(Ok(value)) => value,
            Some(Err(error)) if error.is_eof() && header.made == Made::Recorded => {
                tracing::warn!(
                    "the recording ends in the middle of an exchange, which is left out"
                );
                return Ok((header, exchanges));
            }
            Some(Err(error)) => return Err(error.to_string()),
        };
        let exchange: Exchange =
            serde_json::from_value(value).map_err(|error| wrong(&error.to_string()))?;
        match (&exchange.request, &exchange.matching) {
            (Some(_), None) | (None, Some(_)) => {}
            _ => return Err(wrong("give either request or match")),
        }
        match (&exchange.completion, &exchange.error) {
            (Some(_), None) | (None, Some(_)) => {}
            _ => return Err(wrong("give either completion or error")),
        }
        exchanges.push(exchange);
    }
}

/// The text of a recording. A character that was cut off at its end, as by a full disk, is left out.
pub(super) fn text(bytes: &[u8]) -> Result<&str, String> {
    let whole = match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => &bytes[..error.valid_up_to()],
        _ => bytes,
    };
    std::str::from_utf8(whole).map_err(|_| "it is not UTF-8".to_owned())
}

/// The header of a recording, if this version understands it.
pub(super) fn header(text: &str) -> Result<Header, String> {
    const START: &str =
        "it does not start with a line such as {\"cellblock_recording\":1,\"made\":\"recorded\"}";
    let first = serde_json::Deserializer::from_str(text).into_iter::<serde_json::Value>().next();
    let value = first.and_then(Result::ok).ok_or(START)?;
    // Before anything else is looked at: a later version may have other fields.
    match value.get("cellblock_recording").map(serde_json::Value::as_u64) {
        None => return Err(START.to_owned()),
        Some(Some(version)) if version == u64::from(VERSION) => {}
        Some(version) => {
            let version = version.map_or("unknown".to_owned(), |version| version.to_string());
            return Err(format!(
                "its version is {version}, and this program reads version {VERSION}; record it anew"
            ));
        }
    }
    serde_json::from_value(value).map_err(|error| format!("its header is wrong: {error}"))
}

/// The number of the line on which the next value after a place starts.
fn line_at(text: &str, place: usize) -> usize {
    let (before, after) = text.split_at(place.min(text.len()));
    let space = &after[..after.len() - after.trim_start().len()];
    1 + before.matches('\n').count() + space.matches('\n').count()
}

#[cfg(test)]
#[path = "player_tests.rs"]
mod tests;
