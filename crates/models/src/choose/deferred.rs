//! A local fallback model, which starts when it is needed.
//!
//! It is installed in advance, while the user watches: a download of 127 MB in the middle of a chat
//! would be a surprise, and the model may be needed because the network fails.

use async_trait::async_trait;
use cellblock_agents::{Completion, ModelClient, ModelError, ModelRequest, Parameters, TextSink};
use cellblock_exec::{Progress, Silent, with_causes};
use tokio::sync::OnceCell;

use crate::{
    cache::Cacheable,
    http::Transport,
    local::{Local, LocalOptions, scope_before_start},
};

/// A local fallback model. It does not start while the models before it answer.
#[derive(Debug)]
pub struct DeferredLocal {
    pub name: String,
    pub options: LocalOptions,
    pub parameters: Parameters,
    pub transport: Transport,
    pub stream: bool,
    pub started: OnceCell<Local>,
}

impl DeferredLocal {
    /// Installs the model. A failure is a warning: the models before it may suffice, and the
    /// installation is tried again when the model is needed.
    pub async fn install(&self, progress: &dyn Progress) {
        if let Err(error) = Local::install(&self.options, progress).await {
            progress.finish();
            tracing::warn!(
                model = self.name,
                error = with_causes(&error),
                "a fallback model is not ready"
            );
        }
    }

    /// Starts the model. After a failure the next call tries again.
    async fn start(&self) -> Result<Local, ModelError> {
        let local = Local::start(&self.options, &Silent).await?;
        Ok(local.with_settings(&self.parameters, self.transport.clone(), self.stream))
    }
}

#[async_trait]
impl ModelClient for DeferredLocal {
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

impl Cacheable for DeferredLocal {
    fn scope(&self) -> String {
        scope_before_start(&self.options, &self.parameters)
    }
}
