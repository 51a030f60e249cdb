//! Refusals by providers: the statuses and error bodies that they send, and the errors they mean.

use std::time::{Duration, SystemTime};

use cellblock_agents::ModelError;
use reqwest::{StatusCode, header::HeaderMap};
use secrecy::SecretString;
use serde_json::Value;

use super::secrets::shown;

/// A refusal, in the words of the provider.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status, or the status that fits an error without one.
    pub status: u16,
    /// The provider's names for the kind of error, such as `context_length_exceeded`.
    pub kind: String,
    /// The provider's message.
    pub message: String,
}

/// Phrases in kinds and messages that mean that a conversation is too long for the model.
const TOO_LONG: &[&str] = &[
    "context_length_exceeded",
    "context length",
    "context_window_exceeded",
    "context window",
    "context size",
    "exceed_context_size",
    "exceed context limit",
    "maximum number of tokens",
    "prompt is too long",
    "request_too_large",
    "too many input tokens",
];

/// Kinds that mean that no credit remains, so a retry would not help.
const NO_CREDIT: &[&str] =
    &["insufficient_quota", "billing_hard_limit_reached", "insufficient_balance"];

impl Refusal {
    /// Parses the body of a response with an error status.
    ///
    /// Providers write `{"error": {"message", "type", "code"}}`, `{"error": "…"}`,
    /// `{"message": "…"}`, `{"detail": "…"}`, or lists of one of them. A proxy in between writes a
    /// web page.
    pub fn from_body(status: StatusCode, body: &[u8]) -> Self {
        let refusal = match serde_json::from_slice::<Value>(body) {
            Ok(json) => Self::from_json(&json),
            Err(_) => {
                Self { message: plain_text(&String::from_utf8_lossy(body)), ..Self::default() }
            }
        };
        let message = if refusal.message.trim().is_empty() {
            status.canonical_reason().unwrap_or("no message").to_owned()
        } else {
            refusal.message
        };
        Self { status: status.as_u16(), message, ..refusal }
    }

    /// Parses the JSON of an error, which may also arrive with status 200 or in the middle of a
    /// stream. Without a status in it, the status is the one that fits its kind.
    pub fn from_json(json: &Value) -> Self {
        let json = json.as_array().and_then(|list| list.first()).unwrap_or(json);
        let error = json.get("error").filter(|error| !error.is_null()).unwrap_or(json);
        let text = |value: Option<&Value>| match value {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Null) | None => String::new(),
            Some(other) => other.to_string(),
        };
        let message = match error {
            Value::String(text) => text.clone(),
            error => ["message", "detail", "msg", "error"]
                .into_iter()
                .map(|name| text(error.get(name).or_else(|| json.get(name))))
                .find(|text| !text.is_empty())
                .unwrap_or_else(|| error.to_string()),
        };
        // A router adds the message of the provider behind it, which says more than its own.
        let behind = text(error.pointer("/metadata/raw"));
        let message = if behind.is_empty() { message } else { format!("{message}: {behind}") };
        let code = error.get("code").or_else(|| json.get("code"));
        let kinds = [code.and_then(Value::as_str), error.get("type").and_then(Value::as_str)];
        let kind = kinds.into_iter().flatten().collect::<Vec<_>>().join(" ");
        let status = code.and_then(|code| code.as_u64().or_else(|| code.as_str()?.parse().ok()));
        let status = status
            .and_then(|code| u16::try_from(code).ok())
            .filter(|code| (400..600).contains(code));
        Self { status: status.unwrap_or_else(|| status_of(&kind)), kind, message }
    }

    /// Returns the error for the caller, without secrets.
    pub fn error(
        &self,
        provider: &str,
        retry_after: Option<Duration>,
        secrets: &[&SecretString],
    ) -> ModelError {
        let provider = provider.to_owned();
        let message = shown(&self.message, secrets);
        match self.status {
            401 | 403 => ModelError::Unauthorized { provider, message },
            429 => ModelError::RateLimited { provider, message, retry_after },
            400 | 413 | 422 | 500 if self.is_too_long() => ModelError::TooLong { message },
            status => ModelError::Status { provider, status, message },
        }
    }

    /// True if the same request may succeed a little later.
    pub fn is_transient(&self) -> bool {
        match self.status {
            429 => !NO_CREDIT.iter().any(|kind| self.kind.contains(kind)),
            408 | 409 | 425 => true,
            500..=599 => !self.is_too_long(),
            _ => false,
        }
    }

    fn is_too_long(&self) -> bool {
        let message = self.message.to_lowercase();
        self.status == 413
            || TOO_LONG.iter().any(|words| self.kind.contains(words) || message.contains(words))
    }
}

/// Returns the status that fits a kind of error.
fn status_of(kind: &str) -> u16 {
    match kind {
        kind if kind.contains("rate_limit") => 429,
        kind if kind.contains("overloaded") => 529,
        kind if kind.contains("authentication") || kind.contains("invalid_api_key") => 401,
        kind if kind.contains("permission") => 403,
        kind if kind.contains("not_found") => 404,
        kind if kind.contains("invalid_request") || kind.contains("context_length") => 400,
        _ => 500,
    }
}

/// Returns the text of a body that is not JSON: of a web page its title, or else the text between
/// its tags.
fn plain_text(body: &str) -> String {
    if !body.trim_start().starts_with('<') {
        return body.to_owned();
    }
    let lower = body.to_ascii_lowercase();
    let title = lower.find("<title>").map(|at| at + "<title>".len());
    if let Some((start, length)) =
        title.and_then(|start| Some((start, lower[start..].find("</title>")?)))
    {
        return format!("{} (a web page)", body[start..start + length].trim());
    }
    let mut inside = false;
    body.chars()
        .filter_map(|character| match character {
            '<' => {
                inside = true;
                Some(' ')
            }
            '>' if inside => {
                inside = false;
                None
            }
            other => (!inside).then_some(other),
        })
        .collect()
}

/// Returns the wait that a provider asks for: `retry-after-ms`, or `Retry-After` as seconds or as a
/// date.
pub fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let number =
        |text: &str, unit: f64| Duration::try_from_secs_f64(text.parse::<f64>().ok()? / unit).ok();
    if let Some(wait) = text("retry-after-ms").and_then(|text| number(text, 1000.0)) {
        return Some(wait);
    }
    let text = text("retry-after")?;
    number(text, 1.0).or_else(|| {
        let date = httpdate::parse_http_date(text).ok()?;
        Some(date.duration_since(now).unwrap_or_default())
    })
}

#[cfg(test)]
mod tests;
