//! OpenAI's chat completions, the API that most servers speak: OpenAI, Azure, OpenRouter, vLLM,
//! llama.cpp, LM Studio and others.

mod answer;
mod client;
mod request;

use async_trait::async_trait;
use cellblock_agents::{Completion, ModelClient, ModelError, ModelRequest, TextSink};

use crate::{
    api,
    cache::{Cacheable, scope_of},
    http::{Call, Framing},
    price::Pricing,
};
use answer::OpenAiAnswer;
pub use client::{NamePlace, OpenAi};

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
        let stream = self.stream && on_text.is_some();
        let call = Call {
            provider: &self.provider,
            connection: &self.connection,
            base_url: &self.base_url,
            path: "chat/completions",
            query: &self.query,
            key: self.key.as_ref(),
            key_variable: self.key_variable.as_deref(),
            key_place: self.key_place,
            default_headers: &[],
            headers: &self.headers,
            body: request::body(self, request, stream)?,
            framing: if stream { Framing::Events } else { Framing::Whole },
        };
        let pricing = Pricing { price: self.price, table: self.prices.as_deref() };
        api::complete::<OpenAiAnswer>(&call, &self.model, pricing, on_text).await
    }
}

impl Cacheable for OpenAi {
    fn scope(&self) -> String {
        scope_of(&serde_json::json!({
            "at": self.base_url,
            "query": self.query,
            "names": format!("{:?}", self.name_place),
            "sees_images": self.sees_images,
            "parameters": self.parameters,
        }))
    }
}
