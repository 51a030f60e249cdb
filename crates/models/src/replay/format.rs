//! The format of recordings.

use std::time::Duration;

use cellblock_agents::{Completion, FinishReason, ModelError, ModelRequest, ToolCall, Usage};
use serde::{Deserialize, Deserializer, Serialize};

/// The version of the format. Raised when older readers would misunderstand a file.
pub const VERSION: u32 = 1;

/// The first line of a recording.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// The version of the format, [`VERSION`].
    pub cellblock_recording: u32,
    /// How it came to be.
    pub made: Made,
    /// What it is about; empty for nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// Whether the model that answers takes images. Default: no.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sees_images: bool,
}

/// How a recording came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Made {
    /// A person wrote it; no model ever said this.
    #[serde(rename = "by hand")]
    ByHand,
    /// Models said it.
    #[serde(rename = "recorded")]
    Recorded,
}

/// What a model was asked and what it answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exchange {
    /// The model that was asked.
    pub model: String,
    /// Who provides it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub provider: String,
    /// The whole request. Either this or `match`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<ModelRequest>,
    /// What the request has to contain.
    #[serde(default, rename = "match", skip_serializing_if = "Option::is_none")]
    pub matching: Option<Match>,
    /// The answer. Either this or `error`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion: Option<RecordedCompletion>,
    /// How it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<RecordedError>,
}

/// What a request has to contain to be answered. All that is given has to be there, each as a text or a list of texts; an
/// empty one (`{}`) matches every request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Match {
    /// In the text of the last message.
    #[serde(deserialize_with = "texts", skip_serializing_if = "Vec::is_empty")]
    pub last: Vec<String>,
    /// In the system message.
    #[serde(deserialize_with = "texts", skip_serializing_if = "Vec::is_empty")]
    pub system: Vec<String>,
    /// In the text of any message.
    #[serde(deserialize_with = "texts", skip_serializing_if = "Vec::is_empty")]
    pub any: Vec<String>,
    /// Who said the last message: the whole name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}

/// An answer in a recording. Only its content has to be given, or its tool calls.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedCompletion {
    /// What the model said. In JSON a text, or a list of lines.
    #[serde(default, deserialize_with = "lines")]
    pub content: String,
    /// Tools that it wanted to be called.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    /// Why it stopped. Default: for its tool calls if there are any, otherwise because it was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish: Option<FinishReason>,
    /// The model, as the answer named it. Default: that of the exchange.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Tokens. Default: none.
    #[serde(default)]
    pub usage: Usage,
    /// What it cost, in US dollars. Default: nothing.
    #[serde(default)]
    pub cost: f64,
    /// Whether it came from the cache. Default: no.
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
        /// What the provider said.
        message: String,
    },
    /// [`ModelError::RateLimited`].
    RateLimited {
        /// What the provider said.
        message: String,
        /// When it would answer again, in seconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after: Option<f64>,
    },
    /// [`ModelError::Timeout`].
    Timeout {
        /// How long it was waited for, in seconds.
        after: f64,
    },
    /// [`ModelError::TooLong`].
    TooLong {
        /// What the provider said.
        message: String,
    },
    /// [`ModelError::Status`].
    Status {
        /// The HTTP status.
        status: u16,
        /// What the provider said.
        message: String,
    },
    /// [`ModelError::Interrupted`].
    Interrupted {
        /// What had come.
        received: String,
    },
    /// [`ModelError::Malformed`].
    Malformed {
        /// What is wrong.
        what: String,
    },
    /// Any other, which is given as [`ModelError::Start`].
    Other {
        /// What it said.
        message: String,
    },
}

impl RecordedCompletion {
    /// The answer, of a model called `model` unless it names one itself.
    pub fn completion(&self, model: &str) -> Completion {
        let usual =
            if self.tool_calls.is_empty() { FinishReason::Stop } else { FinishReason::ToolCalls };
        Completion {
            content: self.content.clone(),
            tool_calls: self.tool_calls.clone(),
            finish: self.finish.unwrap_or(usual),
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
    /// The error, of a provider.
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
