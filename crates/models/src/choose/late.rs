//! A local model that is started when its turn comes.
//!
//! It is installed before, while whoever chose it still watches: 127 MB in the middle of a chat are a surprise, and when its turn
//! comes the reason may be that there is no network.

use async_trait::async_trait;
use cellblock_agents::{Completion, ModelClient, ModelError, ModelRequest, Parameters, TextSink};
use cellblock_exec::{Progress, Silent, with_causes};
use tokio::sync::OnceCell;

use crate::{Cacheable, Local, LocalOptions, Transport, local::scope_before};

/// A local model to fall back to: as long as the models before it answer, it is not started.
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
    /// Installs it. What is wrong is a warning: the models before it may be all that is needed, and when its turn comes it is
    /// tried again.
    pub(super) async fn install(&self, progress: &dyn Progress) {
        if let Err(error) = Local::install(&self.options, progress).await {
            progress.finish();
            tracing::warn!(
                model = self.name,
                error = with_causes(&error),
                "a model to fall back to is not ready"
            );
        }
    }

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

    async fn complete(
        &self,
        request: &ModelRequest,
        on_text: Option<&TextSink>,
    ) -> Result<Completion, ModelError> {
        self.started.get_or_try_init(|| self.start()).await?.complete(request, on_text).await
    }
}

impl Cacheable for Late {
    fn scope(&self) -> String {
        scope_before(&self.options, &self.parameters)
    }
}
