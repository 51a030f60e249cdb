//! A client that answers from a recording.

use std::{fmt, path::Path};

use async_trait::async_trait;
use cellblock_agents::{
    Completion, ModelClient, ModelError, ModelRequest, TextSink, scripted::stream_text,
};

use parking_lot::Mutex;

use super::{
    format::{Exchange, RecordingHeader},
    matching, parse,
};

/// A recording that answers instead of a server. Nothing leaves the machine.
///
/// Each exchange answers once: exchanges with exactly the request come first, in order, then those
/// whose `match` the request satisfies, in order. Usage and cost are those of the recording.
pub struct Replay {
    /// The header.
    pub header: RecordingHeader,
    model: String,
    provider: String,
    exchanges: Vec<Exchange>,
    used: Mutex<Vec<bool>>,
}

impl Replay {
    /// Reads a recording from a file.
    ///
    /// # Errors
    /// [`ModelError::Start`] if it cannot be read or is not a recording in this version of the
    /// format.
    pub fn read(path: &Path) -> Result<Self, ModelError> {
        let bytes = std::fs::read(path).map_err(|error| ModelError::Start {
            what: format!("cannot read the recording `{}`", path.display()),
            source: Some(error.into()),
        })?;
        Self::from_bytes(&bytes).map_err(|why| invalid(&format!("`{}`", path.display()), why))
    }

    /// Reads a recording from its text.
    ///
    /// # Errors
    /// [`ModelError::Start`] if it is not a recording in this version of the format.
    pub fn from_text(text: &str) -> Result<Self, ModelError> {
        Self::from_bytes(text.as_bytes()).map_err(|why| invalid("in the given text", why))
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let (header, exchanges) = parse::recording(bytes)?;
        let first = exchanges.first();
        Ok(Self {
            header,
            model: first.map_or("recording", |exchange| &exchange.model).to_owned(),
            provider: first
                .map(|exchange| exchange.provider.clone())
                .filter(|name| !name.is_empty())
                .unwrap_or_else(|| "recording".to_owned()),
            used: Mutex::new(vec![false; exchanges.len()]),
            exchanges,
        })
    }

    /// Returns the number of exchanges that have not been used.
    pub fn remaining(&self) -> usize {
        self.used.lock().iter().filter(|used| !**used).count()
    }

    /// Finds the exchange that answers a request, and marks it as used.
    fn next_exchange(&self, request: &ModelRequest) -> Result<&Exchange, ModelError> {
        let mut used = self.used.lock();
        let unused = || self.exchanges.iter().enumerate().filter(|(at, _)| !used[*at]);
        let exact = unused().find(|(_, exchange)| matching::records(exchange, request));
        let matches = |exchange: &Exchange| {
            let pattern = exchange.matching.as_ref();
            pattern.is_some_and(|pattern| matching::matches(pattern, request))
        };
        let found = exact.or_else(|| unused().find(|(_, exchange)| matches(exchange)));
        let Some((at, exchange)) = found else {
            let remaining: Vec<&Exchange> = unused().map(|(_, exchange)| exchange).collect();
            return Err(ModelError::Unanswered(matching::explain_mismatch(
                request,
                &remaining,
                self.exchanges.len(),
            )));
        };
        used[at] = true;
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
        let exchange = self.next_exchange(request)?;
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
            // Refused by the parser.
            (None, None) => Err(ModelError::Unanswered(
                "the exchange in the recording has no answer".to_owned(),
            )),
        }
    }
}

impl fmt::Debug for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Replay");
        shown
            .field("header", &self.header)
            .field("model", &self.model)
            .field("remaining", &self.remaining());
        shown.finish_non_exhaustive()
    }
}

fn invalid(which: &str, why: String) -> ModelError {
    ModelError::Start { what: format!("cannot use the recording {which}: {why}"), source: None }
}

#[cfg(test)]
mod tests;
