//! A model on this machine, for users without a key: llama.cpp with a small model, both installed
//! on first use.
//!
//! ```text
//! Local ── shares ──► Server: python3 + llama.cpp ◄── HTTP on loopback, with its own key ── OpenAi
//! ```
//!
//! A process has one server for each model and its options. It ends with its last client, and with
//! the process, however that ends.
//!
//! The model is
//! [SmolLM2-135M-Instruct](https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct), with 135
//! million parameters: good for trying everything with a real model, too small for hard tasks. Any
//! other model can be given as a GGUF file.

mod options;
mod packages;
mod python;
mod registry;
mod server;

use std::sync::Arc;

use async_trait::async_trait;
use cellblock_agents::{Completion, ModelClient, ModelError, ModelRequest, Parameters, TextSink};
use cellblock_exec::{BoxFuture, Progress, Silent};
use parking_lot::Mutex;

use crate::{
    cache::{Cacheable, scope_of},
    http::{Connection, Transport},
    openai::OpenAi,
    price::Price,
};
pub use options::{LocalModel, LocalOptions};
use options::{fingerprint, resolve};
use server::Server;

/// The maximum of tokens in an answer if neither request nor client sets one. Small models
/// sometimes repeat themselves without end.
const DEFAULT_MAX_TOKENS: u32 = 1024;

/// A model on this machine.
///
/// If its server dies, for example of a shortage of memory, the call in progress fails and the next
/// call starts another server.
#[derive(Debug)]
pub struct Local {
    name: String,
    options: LocalOptions,
    /// The fingerprint of its weights.
    weights: String,
    settings: CallSettings,
    client: Mutex<ServerClient>,
}

/// The settings of calls.
#[derive(Debug, Clone)]
struct CallSettings {
    parameters: Parameters,
    transport: Transport,
    stream: bool,
}

/// A client of the server. The server lives as long as one of its clients.
#[derive(Debug, Clone)]
struct ServerClient {
    server: Arc<Server>,
    api: Arc<OpenAi>,
}

impl Local {
    /// The provider's name in messages and records.
    pub const PROVIDER: &str = "llama.cpp";

    /// Starts a model, unless it already runs in this process. Missing parts are installed first by
    /// the user's own uv or pip: 34 MB, and 93 MB for the default model.
    ///
    /// Defaults for open parameters: temperature 0, and at most 1024 tokens.
    ///
    /// # Errors
    /// [`ModelError::Start`] if the file is not a model, no Python is found, the installation fails
    /// or the server does not start.
    pub fn start<'a>(
        options: &'a LocalOptions,
        progress: &'a dyn Progress,
    ) -> BoxFuture<'a, Result<Self, ModelError>> {
        Box::pin(async move {
            let options = resolve(options)?;
            let weights = fingerprint(&options.model);
            let server = registry::get(&options, progress).await?;
            let settings = CallSettings {
                parameters: with_defaults(&Parameters::default()),
                transport: Self::default_transport(),
                stream: true,
            };
            Ok(Self {
                name: server.name.clone(),
                client: Mutex::new(ServerClient::new(server, &settings)),
                options,
                weights,
                settings,
            })
        })
    }

    /// Installs the missing parts of a model, as [`start`](Self::start) does, without starting it:
    /// for a model that may be needed later, perhaps without a network.
    ///
    /// # Errors
    /// [`ModelError::Start`] if the file is not a model, no Python is found or the installation
    /// fails.
    pub fn install<'a>(
        options: &'a LocalOptions,
        progress: &'a dyn Progress,
    ) -> BoxFuture<'a, Result<(), ModelError>> {
        Box::pin(async move {
            registry::install(&resolve(options)?, progress).await?;
            progress.finish();
            Ok(())
        })
    }

    /// Returns the default bounds of calls: those of [`Transport`], without retries. A dead server
    /// does not come back.
    pub fn default_transport() -> Transport {
        Transport { retries: 0, ..Transport::default() }
    }

    /// Replaces the settings of calls. `parameters` precede the defaults, and `stream` is true to
    /// stream answers if the caller listens.
    #[must_use]
    pub fn with_settings(
        self,
        parameters: &Parameters,
        transport: Transport,
        stream: bool,
    ) -> Self {
        let settings = CallSettings { parameters: with_defaults(parameters), transport, stream };
        let client = ServerClient::new(self.client.lock().server.clone(), &settings);
        Self { client: Mutex::new(client), settings, ..self }
    }

    /// Returns the process id of the server.
    pub fn process_id(&self) -> u32 {
        self.client.lock().server.process_id
    }

    /// Returns the address of the server, `http://127.0.0.1:PORT`. It answers only requests with
    /// its key.
    pub fn address(&self) -> String {
        self.client.lock().server.address.clone()
    }

    /// Returns a client of a live server.
    async fn live_client(&self) -> Result<ServerClient, ModelError> {
        let client = self.client.lock().clone();
        if client.server.is_alive() {
            return Ok(client);
        }
        tracing::warn!(
            model = self.name,
            "the server of the local model has ended; starting another one"
        );
        let server = registry::get(&self.options, &Silent).await?;
        let client = ServerClient::new(server, &self.settings);
        *self.client.lock() = client.clone();
        Ok(client)
    }
}

impl ServerClient {
    fn new(server: Arc<Server>, settings: &CallSettings) -> Self {
        let api = OpenAi {
            provider: Local::PROVIDER.to_owned(),
            key: Some(server.key.clone()),
            // After a streamed answer the server closes the connection silently, and a request
            // that is sent on it at that moment is lost. A new one costs little here.
            headers: vec![("connection".to_owned(), "close".into())],
            price: Some(Price::FREE),
            sees_images: false,
            parameters: settings.parameters.clone(),
            stream: settings.stream,
            connection: Connection::new(settings.transport.clone()),
            ..OpenAi::new(format!("{}/v1", server.address), server.name.clone())
        };
        Self { server, api: Arc::new(api) }
    }
}

/// Completes parameters with the defaults of local models.
fn with_defaults(parameters: &Parameters) -> Parameters {
    Parameters {
        temperature: parameters.temperature.or(Some(0.0)),
        max_tokens: parameters.max_tokens.or(Some(DEFAULT_MAX_TOKENS)),
        ..parameters.clone()
    }
}

/// Returns the scope of a local model; it is the same before the model starts as afterwards.
fn scope(weights: &str, context: u32, parameters: &Parameters) -> String {
    scope_of(&serde_json::json!({
        "engine": packages::SERVER.identity(),
        "weights": weights,
        "context": context,
        "parameters": parameters,
    }))
}

/// Returns the scope of a model that has not been started.
pub fn scope_before_start(options: &LocalOptions, parameters: &Parameters) -> String {
    scope(&fingerprint(&options.model), options.context, &with_defaults(parameters))
}

impl Cacheable for Local {
    fn scope(&self) -> String {
        scope(&self.weights, self.options.context, &self.settings.parameters)
    }
}

#[async_trait]
impl ModelClient for Local {
    fn name(&self) -> &str {
        &self.name
    }

    fn provider(&self) -> &str {
        Self::PROVIDER
    }

    async fn complete(
        &self,
        request: &ModelRequest,
        on_text: Option<&TextSink>,
    ) -> Result<Completion, ModelError> {
        let client = self.live_client().await?;
        let result = client.api.complete(request, on_text).await;
        if matches!(result, Err(ModelError::Connect { .. } | ModelError::Interrupted { .. })) {
            client.server.wait_for_exit().await;
        }
        result
    }
}
