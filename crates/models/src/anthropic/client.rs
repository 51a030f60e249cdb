//! The client as data.

use std::sync::Arc;

use cellblock_agents::Parameters;
use secrecy::SecretString;

use crate::{
    http::Connection,
    price::{Price, PriceTable},
    vision,
};

/// A client for Anthropic's messages API.
///
/// The API requires that user and assistant take turns and that the user is first and last, and it
/// has no names. So consecutive messages of one side are sent as one, a short message of the user
/// is added where the conversation begins or ends with the assistant, and a message with a name
/// begins with it. A seed is not sent, because the API has none.
#[derive(Debug, Clone)]
pub struct Anthropic {
    /// The provider's name in OpenTelemetry's terms. Default: `anthropic`.
    pub provider: String,
    /// The address above `messages`. Default: `https://api.anthropic.com/v1`.
    pub base_url: String,
    /// The model.
    pub model: String,
    /// The key.
    pub key: Option<SecretString>,
    /// The environment variable that should hold the key. If it is set and there is no key, calls
    /// fail with [`NoKey`](cellblock_agents::ModelError::NoKey) before anything is sent.
    /// Default: `ANTHROPIC_API_KEY`.
    pub key_variable: Option<String>,
    /// Further headers, by name, such as `anthropic-beta`.
    pub headers: Vec<(String, SecretString)>,
    /// True if images may be sent. [`new`](Self::new) sets it for models that are known to see.
    pub sees_images: bool,
    /// The price; `None` to look it up.
    pub price: Option<Price>,
    /// The table to look the price up in; `None` for the embedded one.
    pub prices: Option<Arc<PriceTable>>,
    /// True to stream answers if the caller listens. Default: true.
    pub stream: bool,
    /// Defaults for the parameters that a request leaves open. The API requires `max_tokens`; if
    /// neither has it, it is 4096.
    pub parameters: Parameters,
    /// Connections, bounds on time and size, retries, rate limit.
    pub connection: Connection,
}

impl Anthropic {
    /// Creates a client without a key, with default bounds.
    pub fn new(model: impl Into<String>) -> Self {
        let model = model.into();
        Self {
            provider: "anthropic".to_owned(),
            base_url: "https://api.anthropic.com/v1".to_owned(),
            key: None,
            key_variable: Some("ANTHROPIC_API_KEY".to_owned()),
            headers: Vec::new(),
            sees_images: vision::sees_images(&model),
            price: None,
            prices: None,
            stream: true,
            parameters: Parameters::default(),
            connection: Connection::default(),
            model,
        }
    }
}
