//! Anthropic's messages API.

mod answer;
mod request;

use std::sync::Arc;

use async_trait::async_trait;
use cellblock_agents::{Completion, ModelClient, ModelError, ModelRequest, Parameters, TextSink};
use secrecy::SecretString;

use crate::{
    cache::{Cacheable, scope_of},
    http::{self, Call, Connection, Framing, HeaderValues, KeyPlace},
    price::{self, Price, PriceTable},
    vision,
};
use answer::Answer;

/// The edition of the API that this client speaks.
const VERSION: &str = "2023-06-01";

/// A client for Anthropic's messages.
///
/// The API wants users and assistant to take turns, a user first and last, and knows no names. So messages of the same side that
/// follow each other are sent as one, a word is put before or after a conversation that begins or ends with the assistant, and
/// messages with a name begin with it. A seed is not sent: the API has none.
#[derive(Debug, Clone)]
pub struct Anthropic {
    /// Who provides it, in OpenTelemetry's words. Default: `anthropic`.
    pub provider: String,
    /// Where `messages` is. Default: `https://api.anthropic.com/v1`.
    pub base_url: String,
    /// The model.
    pub model: String,
    /// The key.
    pub key: Option<SecretString>,
    /// The environment variable that would hold the key. If it is named and there is no key, calls are refused with its name
    /// ([`ModelError::NoKey`]) before anything is sent. Default: `ANTHROPIC_API_KEY`.
    pub key_variable: Option<String>,
    /// Further headers, by name, such as `anthropic-beta`.
    pub headers: Vec<(String, SecretString)>,
    /// Whether images may be sent to it. Set by [`new`](Self::new) for models that are known to see.
    pub sees_images: bool,
    /// What it costs; `None` to look it up.
    pub price: Option<Price>,
    /// The table to look it up in; `None` for the embedded one.
    pub prices: Option<Arc<PriceTable>>,
    /// Whether the answer is fetched while it is written when somebody listens. Default: true.
    pub stream: bool,
    /// What a request leaves open. Without `max_tokens` anywhere, which the API demands, it is 4096.
    pub parameters: Parameters,
    /// Connections, bounds on time and size, repetition, rate limit.
    pub connection: Connection,
}

impl Anthropic {
    /// A client without a key, with default bounds.
    pub fn new(model: impl Into<String>) -> Self {
        let model = model.into();
        Self {
            provider: "anthropic".to_owned(),
            base_url: "https://api.anthropic.com/v1".to_owned(),
            key: None,
            key_variable: Some("ANTHROPIC_API_KEY".to_owned()),
            headers: Vec::new(),
            sees_images: vision::sees(&model),
            price: None,
            prices: None,
            stream: true,
            parameters: Parameters::default(),
            connection: Connection::default(),
            model,
        }
    }
}

#[async_trait]
impl ModelClient for Anthropic {
    fn name(&self) -> &str {
        &self.model
    }

    fn provider(&self) -> &str {
        &self.provider
    }

    fn sees_images(&self) -> bool {
        self.sees_images
    }

    async fn complete(
        &self,
        request: &ModelRequest,
        on_text: Option<&TextSink>,
    ) -> Result<Completion, ModelError> {
        let streamed = self.stream && on_text.is_some();
        let values = HeaderValues {
            provider: &self.provider,
            key: self.key.as_ref(),
            key_variable: self.key_variable.as_deref(),
            key_place: KeyPlace::XApiKey,
            others: &self.headers,
        };
        let mut headers = values.build()?;
        headers
            .entry("anthropic-version")
            .or_insert(reqwest::header::HeaderValue::from_static(VERSION));
        let call = Call {
            provider: &self.provider,
            connection: &self.connection,
            url: http::endpoint(&self.base_url, "messages", &[])?,
            headers,
            body: request::body(self, request, streamed)?,
            framing: if streamed { Framing::Events } else { Framing::Whole },
            secrets: values.secrets(),
        };
        let answer: Answer = http::ask(&call, on_text).await?;
        let mut completion = answer.completion(&self.model);
        completion.cost = price::cost(
            self.price,
            self.prices.as_deref(),
            [&self.model, &completion.model],
            completion.usage,
        );
        Ok(completion)
    }
}

impl Cacheable for Anthropic {
    fn scope(&self) -> String {
        scope_of(&serde_json::json!({
            "at": self.base_url,
            "sees_images": self.sees_images,
            "parameters": self.parameters,
        }))
    }
}
