//! Answers that were given before, on disk: the same question to the same model costs nothing the second time.
//!
//! It is AutoGen's `cache_seed`: a number that is part of the key, so that another number gives another answer.

mod key;
mod scope;
mod store;

use std::sync::Arc;

use async_trait::async_trait;
use cellblock_agents::{Completion, FinishReason, ModelClient, ModelError, ModelRequest, TextSink};

pub use scope::Cacheable;
pub(crate) use scope::scope_of;
pub use store::CacheStore;

/// A model whose answers are kept.
#[derive(Debug, Clone)]
pub struct Cached {
    /// The model.
    pub inner: Arc<dyn ModelClient>,
    /// Where its answers are kept.
    pub store: Arc<CacheStore>,
    /// Part of the key: with another number the model is asked again.
    pub namespace: u64,
    /// Part of the key too: all that decides answers besides the request and the model's name and provider. See
    /// [`Cacheable::scope`].
    pub scope: String,
}

impl Cached {
    /// The namespace if nobody names one; AutoGen's.
    pub const DEFAULT_NAMESPACE: u64 = 41;

    /// A model whose answers are kept in `store`, in the default namespace.
    pub fn new(inner: Arc<dyn Cacheable>, store: Arc<CacheStore>) -> Self {
        let scope = inner.scope();
        Self::with_scope(inner, scope, store)
    }

    /// The same for any other client. The caller says what decides its answers: without, one that is used in another way gives
    /// the answers of before.
    pub fn with_scope(
        inner: Arc<dyn ModelClient>,
        scope: impl Into<String>,
        store: Arc<CacheStore>,
    ) -> Self {
        Self { inner, store, namespace: Self::DEFAULT_NAMESPACE, scope: scope.into() }
    }
}

#[async_trait]
impl ModelClient for Cached {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn provider(&self) -> &str {
        self.inner.provider()
    }

    fn sees_images(&self) -> bool {
        self.inner.sees_images()
    }

    /// A known answer is given to `on_text` at once, and says that it is [cached](Completion::cached); its cost is what it
    /// cost when it was made.
    async fn complete(
        &self,
        request: &ModelRequest,
        on_text: Option<&TextSink>,
    ) -> Result<Completion, ModelError> {
        let model = key::Model {
            provider: self.inner.provider(),
            name: self.inner.name(),
            scope: &self.scope,
            namespace: self.namespace,
        };
        let Some(key) = key::key(&model, request) else {
            return self.inner.complete(request, on_text).await;
        };
        if let Some(mut known) = self.store.get(key).await {
            known.cached = true;
            if let Some(on_text) = on_text.filter(|_| !known.content.is_empty()) {
                on_text(&known.content);
            }
            return Ok(known);
        }
        let completion = self.inner.complete(request, on_text).await?;
        if is_worth_keeping(&completion) {
            self.store.put(key, &completion).await;
        }
        Ok(completion)
    }
}

/// Whether an answer is to be given again: not one that was held back, or says nothing, which may be an accident.
fn is_worth_keeping(completion: &Completion) -> bool {
    matches!(completion.finish, FinishReason::Stop | FinishReason::Length | FinishReason::ToolCalls)
        && !(completion.content.is_empty() && completion.tool_calls.is_empty())
}
