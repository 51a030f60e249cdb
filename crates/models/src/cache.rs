//! A cache of answers on disk: the same request to the same model costs nothing the second time.
//!
//! A namespace is part of the key, so that another number gives another answer. It corresponds to
//! AutoGen's `cache_seed`.

mod database;
mod key;
mod scope;
mod store;

use std::sync::Arc;

use async_trait::async_trait;
use cellblock_agents::{Completion, FinishReason, ModelClient, ModelError, ModelRequest, TextSink};

pub use scope::{Cacheable, scope_of};
pub use store::CacheStore;

/// A model whose answers are cached.
#[derive(Debug, Clone)]
pub struct Cached {
    /// The model.
    pub inner: Arc<dyn ModelClient>,
    /// The store of its answers.
    pub store: Arc<CacheStore>,
    /// Part of the key: with another number the model answers anew.
    pub namespace: u64,
    /// Part of the key: everything that decides answers besides the request and the model's name
    /// and provider. See [`Cacheable::scope`].
    pub scope: String,
}

impl Cached {
    /// The default namespace, the same as AutoGen's.
    pub const DEFAULT_NAMESPACE: u64 = 41;

    /// Caches the answers of a model in `store`, in the default namespace.
    pub fn new(inner: Arc<dyn Cacheable>, store: Arc<CacheStore>) -> Self {
        let scope = inner.scope();
        Self::with_scope(inner, scope, store)
    }

    /// Caches the answers of any other client. The caller names everything that decides its
    /// answers; otherwise a client with other settings would return the earlier answers.
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

    /// Passes a cached answer to `on_text` at once. It is marked as [cached](Completion::cached),
    /// and its cost is the original one.
    async fn complete(
        &self,
        request: &ModelRequest,
        on_text: Option<&TextSink>,
    ) -> Result<Completion, ModelError> {
        let model = key::CachedModel {
            provider: self.inner.provider(),
            name: self.inner.name(),
            scope: &self.scope,
            namespace: self.namespace,
        };
        let Some(key) = key::key(&model, request) else {
            return self.inner.complete(request, on_text).await;
        };
        if let Some(mut cached) = self.store.get(key).await {
            cached.cached = true;
            if let Some(on_text) = on_text.filter(|_| !cached.content.is_empty()) {
                on_text(&cached.content);
            }
            return Ok(cached);
        }
        let completion = self.inner.complete(request, on_text).await?;
        if is_cacheable(&completion) {
            self.store.put(key, &completion).await;
        }
        Ok(completion)
    }
}

/// True if an answer may be repeated. A filtered or empty one may be an accident.
fn is_cacheable(completion: &Completion) -> bool {
    matches!(completion.finish, FinishReason::Stop | FinishReason::Length | FinishReason::ToolCalls)
        && !(completion.content.is_empty() && completion.tool_calls.is_empty())
}
