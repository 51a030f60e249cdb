//! A real model on this machine, for everyone who has no key: llama.cpp with a small model, both installed on first use.
//!
//! ```text
//! Local ── shares ──► Server: python3 + llama.cpp ◄── HTTP on loopback, with a key of its own ── OpenAi
//! ```
//!
//! One process has one server for each model and its options. It ends with the last client of it, and with the process
//! however that ends.
//!
//! The model is [SmolLM2-135M-Instruct](https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct), of 135 million
//! parameters: good for trying everything out with a model that really answers, and not for hard tasks. Any other model
//! can be given as a GGUF file.

mod parts;
mod python;
mod running;
mod server;
mod weights;

use std::{
    num::NonZeroU32,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use cellblock_agents::{Completion, ModelClient, ModelError, ModelRequest, Parameters, TextSink};
use cellblock_exec::{Progress, Silent};

use crate::{Cacheable, Connection, OpenAi, Price, Transport, cache::scope_of, lock::locked};
use server::Server;

/// The most tokens of an answer if the request does not say. Small models repeat themselves without end now and then.
const USUAL_MAX_TOKENS: u32 = 1024;

/// A model on this machine.
///
/// If its server dies, which a shortage of memory can make it, the call in progress fails and the next call starts another
/// one.
#[derive(Debug)]
pub struct Local {
    name: String,
    options: LocalOptions,
    /// What tells its weights from others.
    weights: String,
    manner: Manner,
    client: Mutex<Client>,
}

/// How the server is used.
#[derive(Debug, Clone)]
struct Manner {
    parameters: Parameters,
    transport: Transport,
    stream: bool,
}

/// How to reach the server, which lives as long as this.
#[derive(Debug, Clone)]
struct Client {
    server: Arc<Server>,
    api: Arc<OpenAi>,
}

/// Which model to run, and how.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LocalOptions {
    /// The model. Default: the small one that is installed on first use.
    pub model: LocalModel,
    /// How many tokens a conversation may have, the answer included. Memory grows with it. Default: 4096.
    pub context: u32,
    /// How many threads it computes with. Default: half of what the machine has. More of them wait for each other when the
    /// machine has something else to do, and become slower than one.
    pub threads: Option<NonZeroU32>,
    /// The directory that the parts are installed into. Default: the user's cache directory.
    pub cache: Option<PathBuf>,
    /// The Python that runs the server, 3.10 or newer. Default: `python3` of `PATH`, else of `/usr/bin`.
    pub python: Option<PathBuf>,
    /// The longest that the start may take, without the installation. Default: 2 minutes.
    pub start_timeout: Duration,
}

/// A model that runs on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LocalModel {
    /// SmolLM2-135M-Instruct.
    Default,
    /// A GGUF file.
    File(PathBuf),
}

impl Default for LocalOptions {
    fn default() -> Self {
        Self {
            model: LocalModel::Default,
            context: 4096,
            threads: None,
            cache: None,
            python: None,
            start_timeout: Duration::from_secs(120),
        }
    }
}

impl Local {
    /// Who provides it, in messages and in records.
    pub const PROVIDER: &str = "llama.cpp";

    /// The name that a model has: that of its file, without the way its numbers are packed.
    pub fn name_of(model: &LocalModel) -> String {
        server::model_name(match model {
            LocalModel::Default => Path::new(parts::MODEL_FILE),
            LocalModel::File(path) => path,
        })
    }

    /// Starts a model, unless it runs in this process already. What it needs is installed first if it is not there: 34 MB,
    /// and 93 MB for the default model, by the user's own uv or pip.
    ///
    /// What a request leaves open: temperature 0, and at most 1024 tokens.
    ///
    /// # Errors
    /// [`ModelError::Start`] when the file is no model, there is no Python, the installation fails or the server does not
    /// start.
    pub async fn start(
        options: &LocalOptions,
        progress: &dyn Progress,
    ) -> Result<Self, ModelError> {
        let options = running::settled(options)?;
        let weights = weights::fingerprint(&options.model);
        let server = running::get(&options, progress).await?;
        let manner = Manner { parameters: usual(), transport: Self::transport(), stream: true };
        Ok(Self {
            name: server.name.clone(),
            client: Mutex::new(Client::of(server, &manner)),
            options,
            weights,
            manner,
        })
    }

    /// Installs what a model needs, as [`start`](Self::start) does, and starts nothing: for one that may be wanted later, perhaps
    /// when there is no network.
    ///
    /// # Errors
    /// [`ModelError::Start`] when the file is no model, there is no Python or the installation fails.
    pub async fn install(
        options: &LocalOptions,
        progress: &dyn Progress,
    ) -> Result<(), ModelError> {
        running::install(&running::settled(options)?, progress).await?;
        progress.finish();
        Ok(())
    }

    /// The bounds of calls if nobody names others: the usual ones, except that nothing is tried again. A server that died
    /// is not there again a little later.
    pub fn transport() -> Transport {
        Transport { retries: 0, ..Transport::default() }
    }

    /// The same model, used in another way: `parameters` come before the usual ones where they say something, and `stream`
    /// tells whether answers come while they are written.
    pub fn using(self, parameters: &Parameters, transport: Transport, stream: bool) -> Self {
        let parameters = settled(parameters);
        let manner = Manner { parameters, transport, stream };
        let client = Client::of(locked(&self.client).server.clone(), &manner);
        Self { client: Mutex::new(client), manner, ..self }
    }

    /// The number of the server's process.
    pub fn process_id(&self) -> u32 {
        locked(&self.client).server.process_id
    }

    /// Where its server listens: `http://127.0.0.1:PORT`. It answers only who has its key.
    pub fn address(&self) -> String {
        locked(&self.client).server.address.clone()
    }

    /// A client of a server that lives.
    async fn client(&self) -> Result<Client, ModelError> {
        let client = locked(&self.client).clone();
        if client.server.is_alive() {
            return Ok(client);
        }
        tracing::warn!(
            model = self.name,
            "the server of the local model has ended; another one is started"
        );
        let server = running::get(&self.options, &Silent).await?;
        let client = Client::of(server, &self.manner);
        *locked(&self.client) = client.clone();
        Ok(client)
    }
}

impl Client {
    fn of(server: Arc<Server>, manner: &Manner) -> Self {
        let api = OpenAi {
            provider: Local::PROVIDER.to_owned(),
            key: Some(server.key.clone()),
            // After an answer that was streamed the server closes the connection without having said so, and a request that
            // is sent over it at that moment is lost. Another one costs next to nothing here.
            headers: vec![("connection".to_owned(), "close".into())],
            price: Some(Price::FREE),
            sees_images: false,
            parameters: manner.parameters.clone(),
            stream: manner.stream,
            connection: Connection::new(manner.transport.clone()),
            ..OpenAi::new(format!("{}/v1", server.address), server.name.clone())
        };
        Self { server, api: Arc::new(api) }
    }
}

/// What a request leaves open.
fn usual() -> Parameters {
    Parameters {
        temperature: Some(0.0),
        max_tokens: Some(USUAL_MAX_TOKENS),
        ..Parameters::default()
    }
}

/// These parameters, and the usual ones where they say nothing.
fn settled(parameters: &Parameters) -> Parameters {
    Parameters {
        temperature: parameters.temperature.or(usual().temperature),
        max_tokens: parameters.max_tokens.or(usual().max_tokens),
        ..parameters.clone()
    }
}

/// What decides the answers of a local model. It is the same before it was started as after.
fn scope(weights: &str, context: u32, settled: &Parameters) -> String {
    scope_of(&serde_json::json!({
        "engine": parts::SERVER.identity(),
        "weights": weights,
        "context": context,
        "parameters": settled,
    }))
}

/// What will decide the answers of a model that has not been started.
pub(crate) fn scope_before(options: &LocalOptions, parameters: &Parameters) -> String {
    scope(&weights::fingerprint(&options.model), options.context, &settled(parameters))
}

impl Cacheable for Local {
    fn scope(&self) -> String {
        scope(&self.weights, self.options.context, &self.manner.parameters)
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
        let client = self.client().await?;
        let result = client.api.complete(request, on_text).await;
        if matches!(result, Err(ModelError::Connect { .. } | ModelError::Interrupted { .. })) {
            client.server.settle().await;
        }
        result
    }
}
