//! An executor that `auto` may choose.

use std::{fmt, sync::Arc};

use tokio::sync::OnceCell;

use crate::{BoxFuture, Executor, Isolation, Language, Result, with_causes};

/// An executor that is starting.
pub type Starting = BoxFuture<'static, Result<Arc<dyn Executor>>>;

/// An executor that `auto` may choose. It starts when it is first needed.
pub struct Candidate {
    /// Its name.
    pub name: String,
    /// The strongest isolation that it can have here.
    pub isolation: Isolation,
    /// Languages that it may run. Once it is started, its capabilities decide.
    pub languages: Vec<Language>,
    start: Box<dyn Fn() -> Starting + Send + Sync>,
    /// The started executor, or the reason why it did not start.
    started: OnceCell<Result<Arc<dyn Executor>, String>>,
}

impl Candidate {
    /// Creates a candidate that `start` starts. A failed start is not repeated; its reason is
    /// reported for each block.
    pub fn new(
        name: impl Into<String>,
        isolation: Isolation,
        languages: Vec<Language>,
        start: impl Fn() -> Starting + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            isolation,
            languages,
            start: Box::new(start),
            started: OnceCell::new(),
        }
    }

    /// Creates a candidate from a running executor.
    pub fn ready(executor: Arc<dyn Executor>) -> Self {
        let capabilities = executor.capabilities();
        let (isolation, languages) = (capabilities.isolation, capabilities.languages.clone());
        Self::new(executor.name(), isolation, languages, move || {
            Box::pin(std::future::ready(Ok(executor.clone())))
        })
    }

    /// Returns the executor, and starts it if necessary.
    ///
    /// # Errors
    /// The reason why it cannot start.
    pub(crate) async fn executor(&self) -> Result<&Arc<dyn Executor>, String> {
        let started = self
            .started
            .get_or_init(|| async { (self.start)().await.map_err(|error| with_causes(&error)) })
            .await;
        started.as_ref().map_err(Clone::clone)
    }

    /// Checks that it runs the language.
    ///
    /// # Errors
    /// The reason why it does not.
    pub(crate) async fn runs(&self, language: &Language) -> Result<(), String> {
        let names = |languages: &[Language]| {
            let names = languages.iter().map(Language::as_str).collect::<Vec<_>>().join(", ");
            format!("it runs {names}")
        };
        // The list says without a start what cannot run.
        if !self.languages.contains(language) {
            return Err(names(&self.languages));
        }
        let languages = &self.executor().await?.capabilities().languages;
        if languages.contains(language) { Ok(()) } else { Err(names(languages)) }
    }
}

impl fmt::Debug for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Candidate")
            .field("name", &self.name)
            .field("isolation", &self.isolation)
            .field("started", &self.started)
            .finish_non_exhaustive()
    }
}
