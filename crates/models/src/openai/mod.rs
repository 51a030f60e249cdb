//! OpenAI's chat completions, the API that most servers speak: OpenAI, Azure, OpenRouter, vLLM, llama.cpp, LM Studio and others.

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

/// A client for a server with OpenAI's chat completions.
///
/// ```
/// use cellblock_models::OpenAi;
///
/// let client = OpenAi { key: Some("sk-…".into()), ..OpenAi::new("https://api.openai.com/v1", "gpt-4o-mini") };
/// let server_of_my_own = OpenAi::new("http://127.0.0.1:8080/v1", "qwen2.5-coder");
/// ```
#[derive(Debug, Clone)]
pub struct OpenAi {
    /// Who provides it, in OpenTelemetry's words. Default: `openai`.
    pub provider: String,
    /// Where `chat/completions` is. For OpenAI itself it ends in `/v1`, for Azure in `/openai/deployments/NAME`.
    pub base_url: String,
    /// The model, as the server knows it.
    pub model: String,
    /// The key. Servers on one's own machine need none.
    pub key: Option<SecretString>,
    /// The environment variable that would hold the key. If it is named and there is no key, calls are refused with its name
    /// ([`ModelError::NoKey`]) before anything is sent. Set by [`new`](Self::new) for the address of OpenAI itself.
    pub key_variable: Option<String>,
    /// Where the key goes: `Authorization: Bearer` for most, the header `api-key` for Azure.
    pub key_place: KeyPlace,
    /// Further headers, by name.
    pub headers: Vec<(String, SecretString)>,
    /// Further parameters of the address, such as Azure's `api-version`.
    pub query: Vec<(String, String)>,
    /// Whether images may be sent to it. Set by [`new`](Self::new) for models that are known to see. Otherwise a note takes an
    /// image's place.
    pub sees_images: bool,
    /// Where the names of those who speak go. Set by [`new`](Self::new): a field for OpenAI and Azure, the text for others.
    pub names: Names,
    /// What it costs; `None` to look it up.
    pub price: Option<Price>,
    /// The table to look it up in; `None` for the embedded one.
    pub prices: Option<Arc<PriceTable>>,
    /// Whether the answer is fetched while it is written when somebody listens. Default: true. Servers that cannot stream
    /// together with tools need `false`.
    pub stream: bool,
    /// What a request leaves open.
    pub parameters: Parameters,
    /// Connections, bounds on time and size, repetition, rate limit.
    pub connection: Connection,
}

impl OpenAi {
    /// A client without a key, with default bounds.
    pub fn new(base_url: impl Into<String>, model: impl Into<String>) -> Self {
        let (base_url, model) = (base_url.into(), model.into());
        Self {
            provider: "openai".to_owned(),
            key: None,
            key_variable: http::host(&base_url)
                .is_some_and(|host| host == "api.openai.com")
                .then(|| "OPENAI_API_KEY".to_owned()),
            key_place: KeyPlace::Bearer,
            headers: Vec::new(),
            query: Vec::new(),
            sees_images: vision::sees(&model),
            names: if is_openai(&base_url) { Names::Field } else { Names::Text },
            price: None,
            prices: None,
            stream: true,
            parameters: Parameters::default(),
            connection: Connection::default(),
            base_url,
            model,
        }
    }
}

/// Where the names of those who speak go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Names {
    /// Into the message's field `name`, with what is not allowed in it replaced. Some servers refuse it, and others do not tell
    /// the model.
    Field,
    /// Before the text: `NAME: text`.
    Text,
}

/// Whether this is OpenAI itself, or Azure, which has the same server.
fn is_openai(base_url: &str) -> bool {
    http::host(base_url)
        .is_some_and(|host| host == "api.openai.com" || host.ends_with(".openai.azure.com"))
}

#[async_trait]
impl ModelClient for OpenAi {
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
        let headers = HeaderValues {
            provider: &self.provider,
            key: self.key.as_ref(),
            key_variable: self.key_variable.as_deref(),
            key_place: self.key_place,
            others: &self.headers,
        };
        let call = Call {
            provider: &self.provider,
            connection: &self.connection,
            url: http::endpoint(&self.base_url, "chat/completions", &self.query)?,
            headers: headers.build()?,
            body: request::body(self, request, streamed)?,
            framing: if streamed { Framing::Events } else { Framing::Whole },
            secrets: headers.secrets(),
        };
        let answer: Answer = http::ask(&call, on_text).await?;
        let told = answer.cost();
        let mut completion = answer.completion(&self.model);
        completion.cost = match (self.price, told) {
            (None, Some(told)) => told,
            (price, _) => price::cost(
                price,
                self.prices.as_deref(),
                [&self.model, &completion.model],
                completion.usage,
            ),
        };
        Ok(completion)
    }
}

impl Cacheable for OpenAi {
    fn scope(&self) -> String {
        scope_of(&serde_json::json!({
            "at": self.base_url,
            "query": self.query,
            "names": format!("{:?}", self.names),
            "sees_images": self.sees_images,
            "parameters": self.parameters,
        }))
    }
}
