//! Ollama's own API. Ollama speaks OpenAI's API too, but without the context size and other
//! options.

mod answer;
mod client;
mod request;

use async_trait::async_trait;
use cellblock_agents::{Completion, ModelClient, ModelError, ModelRequest, TextSink};

use crate::{
    api,
    cache::{Cacheable, scope_of},
    http::{Call, Framing, KeyPlace},
    price::Pricing,
};
use answer::OllamaAnswer;
pub use client::Ollama;

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
        let stream = self.stream && on_text.is_some();
        let call = Call {
            provider: &self.provider,
            connection: &self.connection,
            base_url: &self.base_url,
            path: "api/chat",
            query: &[],
            key: self.key.as_ref(),
            key_variable: None,
            key_place: KeyPlace::Bearer,
            default_headers: &[],
            headers: &self.headers,
            body: request::body(self, request, stream)?,
            framing: if stream { Framing::Lines } else { Framing::Whole },
        };
        let pricing = Pricing { price: Some(self.price), table: None };
        api::complete::<OllamaAnswer>(&call, &self.model, pricing, on_text)
            .await
            .map_err(|error| with_advice(error, &self.model))
    }
}

/// Adds the command that installs a missing model.
fn with_advice(error: ModelError, model: &str) -> ModelError {
    match error {
        ModelError::Status { provider, status: 404, message } if message.contains("not found") => {
            let message = format!("{message}; `ollama pull {model}` installs it");
            ModelError::Status { provider, status: 404, message }
        }
        error => error,
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
