//! Anthropic's messages API.

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
use answer::AnthropicAnswer;
pub use client::Anthropic;

/// The version of the API that this client speaks.
const VERSION: &str = "2023-06-01";

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
        let stream = self.stream && on_text.is_some();
        let call = Call {
            provider: &self.provider,
            connection: &self.connection,
            base_url: &self.base_url,
            path: "messages",
            query: &[],
            key: self.key.as_ref(),
            key_variable: self.key_variable.as_deref(),
            key_place: KeyPlace::XApiKey,
            default_headers: &[("anthropic-version", VERSION)],
            headers: &self.headers,
            body: request::body(self, request, stream)?,
            framing: if stream { Framing::Events } else { Framing::Whole },
        };
        let pricing = Pricing { price: self.price, table: self.prices.as_deref() };
        api::complete::<AnthropicAnswer>(&call, &self.model, pricing, on_text).await
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
