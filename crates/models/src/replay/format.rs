//! The format of recordings.

use std::time::Duration;

use cellblock_agents::{Completion, FinishReason, ModelError, ModelRequest, ToolCall, Usage};
use serde::{Deserialize, Deserializer, Serialize};

/// The version of the format. It is raised when older readers would misunderstand a file.
pub const VERSION: u32 = 1;

/// The first line of a recording.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordingHeader {
    /// The version of the format, [`VERSION`].
    pub cellblock_recording: u32,
    /// The origin of the recording.
    pub made: RecordingOrigin,
    /// A note on its content; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// True if the model accepts images. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sees_images: bool,
}

/// The origin of a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RecordingOrigin {
    /// A person wrote it; no model ever answered this.
    #[serde(rename = "by hand")]
    ByHand,
    /// Models answered this.
    #[serde(rename = "recorded")]
    Recorded,
}

/// A request to a model and its answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exchange {
    /// The requested model.
    pub model: String,
    /// The provider.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub provider: String,
    /// The whole request. An exchange has either this or `match`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<ModelRequest>,
    /// Texts that the request must contain.
    #[serde(default, rename = "match", skip_serializing_if = "Option::is_none")]
    pub matching: Option<RequestPattern>,
    /// The answer. An exchange has either this or `error`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion: Option<RecordedCompletion>,
    /// The failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<RecordedError>,
}

/// Texts that a request must contain to be answered. Each field is a text or a list of texts, and
/// all of them must be present; an empty pattern (`{}`) matches every request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RequestPattern {
    /// Texts in the last message.
    #[serde(deserialize_with = "texts", skip_serializing_if = "Vec::is_empty")]
    pub last: Vec<String>,
    /// Texts in the system message.
    #[serde(deserialize_with = "texts", skip_serializing_if = "Vec::is_empty")]
    pub system: Vec<String>,
    /// Texts in any message.
    #[serde(deserialize_with = "texts", skip_serializing_if = "Vec::is_empty")]
    pub any: Vec<String>,
    /// The full name of the speaker of the last message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}

/// An answer in a recording. Only its content or its tool calls are required.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedCompletion {
    /// The text of the answer; in JSON a text or a list of lines.
    #[serde(default, deserialize_with = "lines")]
    pub content: String,
    /// The tool calls of the answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    /// The reason why the model stopped. Default: its tool calls if there are any, otherwise a
    /// regular end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish: Option<FinishReason>,
    /// The model that the answer names. Default: the model of the exchange.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The tokens used. Default: 0.
    #[serde(default)]
    pub usage: Usage,
    /// The cost in US dollars. Default: 0.
    #[serde(default)]
    pub cost: f64,
    /// True if it came from the cache. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cached: bool,
}

/// A failure in a recording.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum RecordedError {
    /// [`ModelError::Unauthorized`].
    Unauthorized {
        /// The provider's message.
        message: String,
    },
    /// [`ModelError::RateLimited`].
    RateLimited {
        /// The provider's message.
        message: String,
        /// The wait that the provider asked for, in seconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after: Option<f64>,
    },
    /// [`ModelError::Timeout`].
    Timeout {
        /// The time that had passed, in seconds.
        after: f64,
    },
    /// [`ModelError::TooLong`].
    TooLong {
        /// The provider's message.
        message: String,
    },
    /// [`ModelError::Status`].
    Status {
        /// The HTTP status.
        status: u16,
        /// The provider's message.
        message: String,
    },
    /// [`ModelError::Interrupted`].
    Interrupted {
        /// The text that had arrived.
        received: String,
    },
    /// [`ModelError::Malformed`].
    Malformed {
        /// The defect.
        what: String,
    },
    /// Any other error, returned as [`ModelError::Start`].
    Other {
        /// Its message.
        message: String,
    },
}

impl RecordedCompletion {
    /// Returns the answer, with `model` as its model unless it names one.
    pub fn completion(&self, model: &str) -> Completion {
        let default_finish =
            if self.tool_calls.is_empty() { FinishReason::Stop } else { FinishReason::ToolCalls };
        Completion {
            content: self.content.clone(),
            tool_calls: self.tool_calls.clone(),
            finish: self.finish.unwrap_or(default_finish),
            model: self.model.clone().unwrap_or_else(|| model.to_owned()),
            usage: self.usage,
            cost: self.cost,
            cached: self.cached,
        }
    }
}

impl From<&Completion> for RecordedCompletion {
    fn from(completion: &Completion) -> Self {
        Self {
            content: completion.content.clone(),
            tool_calls: completion.tool_calls.clone(),
            finish: Some(completion.finish),
            model: Some(completion.model.clone()),
            usage: completion.usage,
            cost: completion.cost,
            cached: completion.cached,
        }
    }
}

impl RecordedError {
    /// Returns the error of a provider.
    pub fn error(&self, provider: &str) -> ModelError {
        let provider = provider.to_owned();
        let seconds = |seconds: f64| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
        match self.clone() {
            Self::Unauthorized { message } => ModelError::Unauthorized { provider, message },
            Self::RateLimited { message, retry_after } => {
                ModelError::RateLimited { provider, message, retry_after: retry_after.map(seconds) }
            }
            Self::Timeout { after } => ModelError::Timeout { provider, after: seconds(after) },
            Self::TooLong { message } => ModelError::TooLong { message },
            Self::Status { status, message } => ModelError::Status { provider, status, message },
            Self::Interrupted { received } => {
                ModelError::Interrupted { provider, received, source: None }
            }
            Self::Malformed { what } => ModelError::Malformed { provider, what },
            Self::Other { message } => ModelError::Start { what: message, source: None },
        }
    }
}

impl From<&ModelError> for RecordedError {
    fn from(error: &ModelError) -> Self {
        match error {
            ModelError::Unauthorized { message, .. } => {
                Self::Unauthorized { message: message.clone() }
            }
            ModelError::RateLimited { message, retry_after, .. } => Self::RateLimited {
                message: message.clone(),
                retry_after: retry_after.map(|after| after.as_secs_f64()),
            },
            ModelError::Timeout { after, .. } => Self::Timeout { after: after.as_secs_f64() },
            ModelError::TooLong { message } => Self::TooLong { message: message.clone() },
            ModelError::Status { status, message, .. } => {
                Self::Status { status: *status, message: message.clone() }
            }
            ModelError::Interrupted { received, .. } => {
                Self::Interrupted { received: received.clone() }
            }
            ModelError::Malformed { what, .. } => Self::Malformed { what: what.clone() },
            other => Self::Other { message: cellblock_exec::with_causes(other) },
        }
    }
}

/// A text, or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(text) => vec![text],
        OneOrMany::Many(texts) => texts,
    })
}

fn lines<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(text) => text,
        OneOrMany::Many(lines) => lines.join("\n"),
    })
}
