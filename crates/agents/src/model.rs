//! The contract with models: what they are asked, what they answer, and how they fail. Clients live in `cellblock-models`.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use cellblock_exec::Cause;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::message::{Content, ToolCall, ToolResult};

/// A model that answers.
#[async_trait]
pub trait ModelClient: fmt::Debug + Send + Sync {
    /// The model's name, as its provider knows it.
    fn name(&self) -> &str;

    /// Who provides it, in the words of OpenTelemetry's `gen_ai.provider.name` where it has one (`openai`, `anthropic`).
    fn provider(&self) -> &str;

    /// Whether images can be sent to it. Without, agents send the names of pictures instead.
    fn sees_images(&self) -> bool {
        false
    }

    /// Asks the model. Text is also given to `on_text` while it arrives. Dropping the future ends the call.
    ///
    /// # Errors
    /// See [`ModelError`]; what can be tried again has been.
    async fn complete(
        &self,
        request: &ModelRequest,
        on_text: Option<&TextSink>,
    ) -> Result<Completion, ModelError>;
}

/// Receives text while it arrives. It must not block for long.
pub type TextSink = Arc<dyn Fn(&str) + Send + Sync>;

/// What a model is asked.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ModelRequest {
    /// Who it is to be; empty for none.
    pub system: String,
    /// The conversation, from the model's point of view.
    pub messages: Vec<ModelMessage>,
    /// Tools that it may call.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<ToolSpec>,
    /// How it is to answer.
    pub parameters: Parameters,
}

/// A message as a model sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "role", rename_all = "snake_case")]
pub enum ModelMessage {
    /// Somebody else's.
    User {
        /// Who said it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// What was said.
        content: Content,
    },
    /// Its own.
    Assistant {
        /// What it said.
        content: Content,
        /// Tools that it wanted to be called.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        tool_calls: Vec<ToolCall>,
    },
    /// What came of one of its tool calls.
    Tool(ToolResult),
}

/// A tool as a model sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolSpec {
    /// Its name: letters, digits, `_` and `-`, at most 64.
    pub name: String,
    /// What it does and when to use it.
    pub description: String,
    /// JSON schema of its arguments, an object.
    pub parameters: Value,
}

/// How a model is to answer. What is `None` is left to the provider.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Parameters {
    /// 0 for the most likely words; higher for more variety.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Share of the likeliest words among which it chooses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    /// The most tokens that it may answer with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u32>,
    /// It stops before it writes one of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<String>,
    /// For providers that can repeat an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Further fields of the provider's request, put into it as they are.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub extra: Map<String, Value>,
}

/// A model's answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Completion {
    /// What it said.
    pub content: String,
    /// Tools that it wants to be called.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    /// Why it stopped.
    pub finish: FinishReason,
    /// The model that answered, as the provider names it.
    pub model: String,
    /// What it read and wrote.
    pub usage: Usage,
    /// What it cost, in US dollars; 0 when the price is unknown.
    pub cost: f64,
    /// Whether it came from the cache, and cost nothing this time.
    #[serde(default)]
    pub cached: bool,
}

impl Completion {
    /// An answer of text, of a model that costs nothing.
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

/// Why a model stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FinishReason {
    /// It was done, or came to a stop word.
    Stop,
    /// It reached the limit on tokens: the answer is cut off.
    Length,
    /// It wants tools to be called.
    ToolCalls,
    /// The provider held the answer back.
    Filtered,
    /// Something else.
    Other,
}

impl FinishReason {
    /// Its name, as in JSON.
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

/// What a model call used, in tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens read, those from the provider's own cache included.
    pub prompt_tokens: u64,
    /// Tokens written.
    pub completion_tokens: u64,
}

/// How a model call fails.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// There is no key.
    #[error("no key for {provider}: set the environment variable {variable}")]
    NoKey {
        /// The provider.
        provider: String,
        /// The variable that would hold it.
        variable: String,
    },
    /// The key is wrong, or not allowed to do this (status 401 or 403).
    #[error("{provider} refused the key: {message}")]
    Unauthorized {
        /// The provider.
        provider: String,
        /// What it said.
        message: String,
    },
    /// Too many requests, or no credit left (status 429); it was tried again as often as allowed.
    #[error("{provider} limits the rate: {message}{}", .retry_after.map(try_again_in).unwrap_or_default())]
    RateLimited {
        /// The provider.
        provider: String,
        /// What it said.
        message: String,
        /// When it would answer again, if it said so.
        retry_after: Option<Duration>,
    },
    /// There was no answer in time.
    #[error("no answer from {provider} within {after:?}")]
    Timeout {
        /// The provider.
        provider: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// The conversation is longer than the model's context.
    #[error("the conversation is too long for the model: {message}")]
    TooLong {
        /// What the provider said.
        message: String,
    },
    /// Another status than success.
    #[error("{provider} answered with status {status}: {message}")]
    Status {
        /// The provider.
        provider: String,
        /// The HTTP status.
        status: u16,
        /// What it said.
        message: String,
    },
    /// No connection.
    #[error("cannot reach {provider} at {address}")]
    Connect {
        /// The provider.
        provider: String,
        /// Where it should be.
        address: String,
        /// Why.
        #[source]
        source: Cause,
    },
    /// The answer stopped in the middle.
    #[error("the answer of {provider} broke off after {} characters", received.chars().count())]
    Interrupted {
        /// The provider.
        provider: String,
        /// What had come.
        received: String,
        /// Why.
        #[source]
        source: Option<Cause>,
    },
    /// The answer is not what the provider's API promises.
    #[error("the answer of {provider} makes no sense: {what}")]
    Malformed {
        /// The provider.
        provider: String,
        /// What is wrong with it.
        what: String,
    },
    /// A recording or a script has no answer to this request.
    #[error("{0}")]
    Unanswered(String),
    /// All models of a list failed.
    #[error("no model answered: {}", .0.iter().map(|(name, error)| format!("{name}: {error}")).collect::<Vec<_>>().join("; "))]
    All(Vec<(String, ModelError)>),
    /// The client could not be made or started.
    #[error("{what}")]
    Start {
        /// What failed, and what to do about it.
        what: String,
        /// Why.
        #[source]
        source: Option<Cause>,
    },
}

fn try_again_in(time: Duration) -> String {
    // Rounded up: who comes back too early is refused again.
    format!(" (it says to try again in {} s)", time.as_secs() + u64::from(time.subsec_nanos() > 0))
}

impl ModelError {
    /// What kind of failure it is, in one word of `snake_case`, for logs and spans.
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

    /// Whether the same request may succeed a little later.
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
