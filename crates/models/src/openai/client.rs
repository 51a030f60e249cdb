//! The client as data.

use std::sync::Arc;

use cellblock_agents::Parameters;
use secrecy::SecretString;

use crate::{
    http::{self, Connection, KeyPlace},
    price::{Price, PriceTable},
    vision,
};

/// A client for a server with OpenAI's chat completions.
///
/// ```
/// use cellblock_models::OpenAi;
///
/// let openai = OpenAi {
///     key: Some("sk-…".into()),
///     ..OpenAi::new("https://api.openai.com/v1", "gpt-4o-mini")
/// };
/// let own_server = OpenAi::new("http://127.0.0.1:8080/v1", "qwen2.5-coder");
/// ```
#[derive(Debug, Clone)]
pub struct OpenAi {
    /// The provider's name in OpenTelemetry's terms. Default: `openai`.
    pub provider: String,
    /// The address above `chat/completions`. It ends in `/v1` for OpenAI itself, and in
    /// `/openai/deployments/NAME` for Azure.
    pub base_url: String,
    /// The model, as the server knows it.
    pub model: String,
    /// The key. Servers on your own machine need none.
    pub key: Option<SecretString>,
    /// The environment variable that should hold the key. If it is set and there is no key, calls
    /// fail with [`NoKey`](cellblock_agents::ModelError::NoKey) before anything is sent.
    /// [`new`](Self::new) sets it for the address of OpenAI itself.
    pub key_variable: Option<String>,
    /// The place of the key: `Authorization: Bearer` for most servers, the header `api-key` for
    /// Azure.
    pub key_place: KeyPlace,
    /// Further headers, by name.
    pub headers: Vec<(String, SecretString)>,
    /// Query parameters of the address, such as Azure's `api-version`.
    pub query: Vec<(String, String)>,
    /// True if images may be sent; otherwise a note takes the place of an image.
    /// [`new`](Self::new) sets it for models that are known to see.
    pub sees_images: bool,
    /// The place of the speakers' names. [`new`](Self::new) chooses the field for OpenAI and
    /// Azure, and the text for others.
    pub name_place: NamePlace,
    /// The price; `None` to look it up.
    pub price: Option<Price>,
    /// The table to look the price up in; `None` for the embedded one.
    pub prices: Option<Arc<PriceTable>>,
    /// True to stream answers if the caller listens. Default: true. Servers that cannot stream
    /// together with tools need `false`.
    pub stream: bool,
    /// Defaults for the parameters that a request leaves open.
    pub parameters: Parameters,
    /// Connections, bounds on time and size, retries, rate limit.
    pub connection: Connection,
}

impl OpenAi {
    /// Creates a client without a key, with default bounds.
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
            sees_images: vision::sees_images(&model),
            name_place: if is_openai(&base_url) { NamePlace::Field } else { NamePlace::Text },
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

/// The place of the speakers' names in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NamePlace {
    /// The message's field `name`, with invalid characters replaced. Some servers refuse the
    /// field, and others do not show it to the model.
    Field,
    /// The beginning of the text: `NAME: text`.
    Text,
}

/// True for OpenAI itself and for Azure, which runs the same server.
pub fn is_openai(base_url: &str) -> bool {
    http::host(base_url)
        .is_some_and(|host| host == "api.openai.com" || host.ends_with(".openai.azure.com"))
}
