//! Ollama's own API. (Ollama speaks OpenAI's too, but there the context and other options cannot be set.)

mod answer;
mod request;

use async_trait::async_trait;
use cellblock_agents::{Completion, ModelClient, ModelError, ModelRequest, Parameters, TextSink};
use secrecy::SecretString;

use crate::{
    cache::{Cacheable, scope_of},
    http::{self, Call, Connection, Framing, HeaderValues, KeyPlace},
    price::Price,
    vision,
};
use answer::Answer;

/// A client for an Ollama server.
///
/// The API knows no names: messages with a name begin with it. Further fields ([`Parameters::extra`]) go into the request as they are (`keep_alive`, `think`, `format`); those of `options` are put beside
/// the options that come from the other parameters (`{"options": {"num_ctx": 8192}}`).
#[derive(Debug, Clone)]
pub struct Ollama {
    /// Who provides it, in OpenTelemetry's words. Default: `ollama`.
    pub provider: String,
    /// Where `api/chat` is. Default: `http://127.0.0.1:11434`.
    pub base_url: String,
    /// The model.
    pub model: String,
    /// The key, for servers behind one.
    pub key: Option<SecretString>,
    /// Further headers, by name.
    pub headers: Vec<(String, SecretString)>,
    /// Whether images may be sent to it. Set by [`new`](Self::new) for models that are known to see.
    pub sees_images: bool,
    /// What it costs. Default: nothing.
    pub price: Price,
    /// Whether the answer is fetched while it is written when somebody listens. Default: true.
    pub stream: bool,
    /// What a request leaves open.
    pub parameters: Parameters,
    /// Connections, bounds on time and size, repetition, rate limit.
    pub connection: Connection,
}

impl Ollama {
    /// A client for a server at its usual address on this machine.
    pub fn new(model: impl Into<String>) -> Self {
        let model = model.into();
        Self {
            provider: "ollama".to_owned(),
            base_url: "http://127.0.0.1:11434".to_owned(),
            key: None,
            headers: Vec::new(),
            sees_images: vision::sees(&model),
            price: Price::FREE,
            stream: true,
            parameters: Parameters::default(),
            connection: Connection::default(),
            model,
        }
    }
}

#[async_trait]
impl ModelClient for Ollama {
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
            key_variable: None,
            key_place: KeyPlace::Bearer,
            others: &self.headers,
        };
        let call = Call {
            provider: &self.provider,
            connection: &self.connection,
            url: http::endpoint(&self.base_url, "api/chat", &[])?,
            headers: headers.build()?,
            body: request::body(self, request, streamed)?,
            framing: if streamed { Framing::Lines } else { Framing::Whole },
            secrets: headers.secrets(),
        };
        let answer: Answer = http::ask(&call, on_text).await.map_err(|error| self.advise(error))?;
        let mut completion = answer.completion(&self.model);
        completion.cost = self.price.cost(completion.usage);
        Ok(completion)
    }
}

impl Cacheable for Ollama {
    fn scope(&self) -> String {
        scope_of(&serde_json::json!({
            "at": self.base_url,
            "sees_images": self.sees_images,
            "parameters": self.parameters,
        }))
    }
}

impl Ollama {
    /// Says what helps, where that is known.
    fn advise(&self, error: ModelError) -> ModelError {
        match error {
            ModelError::Status { provider, status: 404, message }
                if message.contains("not found") =>
            {
                let message = format!("{message}; `ollama pull {}` gets it", self.model);
                ModelError::Status { provider, status: 404, message }
            }
            error => error,
        }
    }
}
