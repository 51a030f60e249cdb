//! The contract with models: requests, answers and failures. Clients live in `cellblock-models`.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use cellblock_exec::Cause;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::message::{Content, ToolCall, ToolResult};

/// A client of a language model.
#[async_trait]
pub trait ModelClient: fmt::Debug + Send + Sync {
    /// The provider's name for the model.
    fn name(&self) -> &str;

    /// The provider, as OpenTelemetry's `gen_ai.provider.name` names it, such as `openai`.
    fn provider(&self) -> &str;

    /// True if requests can contain images. Otherwise agents send the names of images.
    fn sees_images(&self) -> bool {
        false
    }

    /// Sends a request. `on_text` receives the text while it arrives. A dropped future cancels the
    /// call.
    ///
    /// # Errors
    /// See [`ModelError`]. The client has already repeated what can be repeated.
    async fn complete(
        &self,
        request: &ModelRequest,
        on_text: Option<&TextSink>,
    ) -> Result<Completion, ModelError>;
}

/// Receives text while it arrives. It must not block for long.
pub type TextSink = Arc<dyn Fn(&str) + Send + Sync>;

/// A request to a model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ModelRequest {
    /// The system message; may be empty.
    pub system: String,
    /// The conversation from the model's point of view.
    pub messages: Vec<ModelMessage>,
    /// The tools that the model may call.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<ToolSpec>,
    /// The parameters of the answer.
    pub parameters: Parameters,
}

/// A message as a model sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "role", rename_all = "snake_case")]
pub enum ModelMessage {
    /// A message of somebody else.
    User {
        /// The speaker.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// The content.
        content: Content,
    },
    /// A message of the model itself.
    Assistant {
        /// The content.
        content: Content,
        /// The tool calls that it asked for.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        tool_calls: Vec<ToolCall>,
    },
    /// The result of one of its tool calls.
    Tool(ToolResult),
}

/// A tool as a model sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolSpec {
    /// The name: at most 64 letters, digits, `_` and `-`.
    pub name: String,
    /// The purpose of the tool, and when to use it.
    pub description: String,
    /// The JSON schema of the arguments, an object.
    pub parameters: Value,
}

/// Parameters of an answer. A parameter that is `None` is left to the provider.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Parameters {
    /// The temperature: 0 for the most likely words, higher for more variety.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// The share of the most likely words from which the model chooses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    /// The maximum of tokens in the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u32>,
    /// Texts before which the model stops.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<String>,
    /// The seed, for providers that can repeat an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Further fields of the provider's request, sent unchanged.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub extra: Map<String, Value>,
}

/// The answer of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Completion {
    /// The text.
    pub content: String,
    /// The tool calls that the model asks for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    /// The reason why the model stopped.
    pub finish: FinishReason,
    /// The model that answered, by its provider's name for it.
    pub model: String,
    /// The tokens.
    pub usage: Usage,
    /// The cost in US dollars; 0 if the price is unknown.
    pub cost: f64,
    /// True if the answer came from the cache and cost nothing this time.
    #[serde(default)]
    pub cached: bool,
}

impl Completion {
    /// Creates an answer of text, of a model that costs nothing.
    pub fn text(model: impl Into<String>, content: impl Into<String>) -> Self {
        Self {
            content: content.into(),
            tool_calls: Vec::new(),
            finish: FinishReason::Stop,
            model: model.into(),
            usage: Usage::default(),
            cost: 0.0,
            cached: false,
        }
    }
}

/// The reason why a model stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FinishReason {
    /// The answer is complete, or a stop text was reached.
    Stop,
    /// The maximum of tokens was reached: the answer is cut off.
    Length,
    /// The model asks for tool calls.
    ToolCalls,
    /// The provider withheld the answer.
    Filtered,
    /// Another reason.
    Other,
}

impl FinishReason {
    /// The name of the reason, as in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            FinishReason::Stop => "stop",
            FinishReason::Length => "length",
            FinishReason::ToolCalls => "tool_calls",
            FinishReason::Filtered => "filtered",
            FinishReason::Other => "other",
        }
    }
}

/// The tokens of a model call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens read, including those from the provider's own cache.
    pub prompt_tokens: u64,
    /// Tokens written.
    pub completion_tokens: u64,
}

/// A failure of a model call.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// There is no key for the provider.
    #[error("no key for {provider}: set the environment variable {variable}")]
    NoKey {
        /// The provider.
        provider: String,
        /// The environment variable for it.
        variable: String,
    },
    /// The key is wrong, or lacks the permission (status 401 or 403).
    #[error("{provider} refused the key: {message}")]
    Unauthorized {
        /// The provider.
        provider: String,
        /// The content.
        message: String,
    },
    /// Too many requests, or no remaining credit (status 429), after all repetitions.
    #[error("rate limit of {provider} reached: {message}{}", note_on_retry(.retry_after))]
    RateLimited {
        /// The provider.
        provider: String,
        /// The content.
        message: String,
        /// The time after which the provider would answer, if it said so.
        retry_after: Option<Duration>,
    },
    /// No answer arrived in time.
    #[error("no answer from {provider} within {after:?}")]
    Timeout {
        /// The provider.
        provider: String,
        /// The time waited.
        after: Duration,
    },
    /// The conversation is longer than the model's context.
    #[error("the conversation is too long for the model: {message}")]
    TooLong {
        /// The provider's message.
        message: String,
    },
    /// A status other than success.
    #[error("{provider} answered with status {status}: {message}")]
    Status {
        /// The provider.
        provider: String,
        /// The HTTP status.
        status: u16,
        /// The content.
        message: String,
    },
    /// The provider cannot be reached.
    #[error("cannot reach {provider} at {address}")]
    Connect {
        /// The provider.
        provider: String,
        /// The address.
        address: String,
        /// The cause.
        #[source]
        source: Cause,
    },
    /// The answer broke off.
    #[error("the answer of {provider} broke off after {} characters", received.chars().count())]
    Interrupted {
        /// The provider.
        provider: String,
        /// The part that was received.
        received: String,
        /// The cause.
        #[source]
        source: Option<Cause>,
    },
    /// The answer does not follow the provider's API.
    #[error("invalid answer of {provider}: {what}")]
    Malformed {
        /// The provider.
        provider: String,
        /// The fault.
        what: String,
    },
    /// A recording or a script has no answer to the request.
    #[error("{0}")]
    Unanswered(String),
    /// All models of a list failed.
    #[error("no model answered: {}", list_failures(.0))]
    All(Vec<(String, ModelError)>),
    /// The client cannot be created or started.
    #[error("{what}")]
    Start {
        /// The failure, and what to do about it.
        what: String,
        /// The cause.
        #[source]
        source: Option<Cause>,
    },
}

fn note_on_retry(after: &Option<Duration>) -> String {
    after.map_or_else(String::new, |after| {
        // Rounded up: a request that comes too early is refused again.
        let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
        format!(" (retry in {seconds} s)")
    })
}

fn list_failures(failures: &[(String, ModelError)]) -> String {
    let texts: Vec<_> = failures.iter().map(|(name, error)| format!("{name}: {error}")).collect();
    texts.join("; ")
}

impl ModelError {
    /// The kind of failure in `snake_case`, for logs and spans.
    pub fn kind(&self) -> &'static str {
        match self {
            ModelError::NoKey { .. } => "no_key",
            ModelError::Unauthorized { .. } => "unauthorized",
            ModelError::RateLimited { .. } => "rate_limited",
            ModelError::Timeout { .. } => "timeout",
            ModelError::TooLong { .. } => "too_long",
            ModelError::Status { .. } => "status",
            ModelError::Connect { .. } => "connect",
            ModelError::Interrupted { .. } => "interrupted",
            ModelError::Malformed { .. } => "malformed",
            ModelError::Unanswered(_) => "unanswered",
            ModelError::All(_) => "all_failed",
            ModelError::Start { .. } => "start",
        }
    }

    /// True if the same request may succeed a little later.
    pub fn is_transient(&self) -> bool {
        match self {
            ModelError::RateLimited { .. }
            | ModelError::Timeout { .. }
            | ModelError::Connect { .. }
            | ModelError::Interrupted { .. } => true,
            ModelError::Status { status, .. } => matches!(status, 408 | 409 | 425 | 500..=599),
            _ => false,
        }
    }
}
