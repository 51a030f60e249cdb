//! The client as data.

use cellblock_agents::Parameters;
use secrecy::SecretString;

use crate::{http::Connection, price::Price, vision};

/// A client for an Ollama server.
///
/// The API has no names: a message with a name begins with it. Extra fields
/// ([`Parameters::extra`]) go into the request unchanged (`keep_alive`, `think`, `format`). Those
/// of `options` are merged with the options from the other parameters
/// (`{"options": {"num_ctx": 8192}}`).
#[derive(Debug, Clone)]
pub struct Ollama {
    /// The provider's name in OpenTelemetry's terms. Default: `ollama`.
    pub provider: String,
    /// The address above `api/chat`. Default: `http://127.0.0.1:11434`.
    pub base_url: String,
    /// The model.
    pub model: String,
    /// The key, for servers that require one.
    pub key: Option<SecretString>,
    /// Further headers, by name.
    pub headers: Vec<(String, SecretString)>,
    /// True if images may be sent. [`new`](Self::new) sets it for models that are known to see.
    pub sees_images: bool,
    /// The price. Default: free.
    pub price: Price,
    /// True to stream answers if the caller listens. Default: true.
    pub stream: bool,
    /// Defaults for the parameters that a request leaves open.
    pub parameters: Parameters,
    /// Connections, bounds on time and size, retries, rate limit.
    pub connection: Connection,
}

impl Ollama {
    /// Creates a client for a server at its default address on this machine.
    pub fn new(model: impl Into<String>) -> Self {
        let model = model.into();
        Self {
            provider: "ollama".to_owned(),
            base_url: "http://127.0.0.1:11434".to_owned(),
            key: None,
            headers: Vec::new(),
            sees_images: vision::sees_images(&model),
            price: Price::FREE,
            stream: true,
            parameters: Parameters::default(),
            connection: Connection::default(),
            model,
        }
    }
}
