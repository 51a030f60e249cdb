//! A local model that is started when its turn comes.

use async_trait::async_trait;
use cellblock_agents::{Completion, ModelClient, ModelError, ModelRequest, Parameters, TextSink};
use cellblock_exec::Silent;
use tokio::sync::OnceCell;

use crate::{Local, LocalOptions, Transport};

/// A local model to fall back to: as long as the models before it answer, it is neither installed nor started.
#[derive(Debug)]
pub(super) struct Late {
    pub(super) name: String,
    pub(super) options: LocalOptions,
    pub(super) parameters: Parameters,
    pub(super) transport: Transport,
    pub(super) stream: bool,
    pub(super) started: OnceCell<Local>,
}

impl Late {
    /// Starts it; one that did not start is tried again the next time.
    async fn start(&self) -> Result<Local, ModelError> {
        let local = Local::start(&self.options, &Silent).await?;
        Ok(local.using(&self.parameters, self.transport.clone(), self.stream))
    }
}

#[async_trait]
impl ModelClient for Late {
    fn name(&self) -> &str {
        &self.name
    }

    fn provider(&self) -> &str {
        Local::PROVIDER
    }

    async fn complete(&self, request: &ModelRequest, on_text: Option<&TextSink>) -> Result<Completion, ModelError> {
        self.started.get_or_try_init(|| self.start()).await?.complete(request, on_text).await
    }
}
