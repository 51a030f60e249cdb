//! An executor that may be chosen.

use std::{fmt, future::Future, pin::Pin, sync::Arc};

use tokio::sync::OnceCell;

use crate::{Executor, Isolation, Language, Result};

/// An executor that is starting.
pub type Starting = Pin<Box<dyn Future<Output = Result<Arc<dyn Executor>>> + Send>>;

/// An executor that may be chosen. It is started when it is first needed.
pub struct Candidate {
    /// Its name.
    pub name: String,
    /// The strongest isolation that it may have here.
    pub isolation: Isolation,
    /// Languages that it may run; a started one knows better.
    pub languages: Vec<Language>,
    start: Box<dyn Fn() -> Starting + Send + Sync>,
    /// What came of the start: the executor, or why there is none.
    started: OnceCell<Result<Arc<dyn Executor>, String>>,
}

impl Candidate {
    /// An executor that `start` starts. A start that fails is not tried again: the reason is told instead.
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

    /// An executor that has been started.
    pub fn ready(executor: Arc<dyn Executor>) -> Self {
        let capabilities = executor.capabilities();
        let (isolation, languages) = (capabilities.isolation, capabilities.languages.clone());
        Self::new(executor.name(), isolation, languages, move || {
            Box::pin(std::future::ready(Ok(executor.clone())))
        })
    }

    /// The executor, which is started if need be.
    ///
    /// # Errors
    /// Why it cannot be started.
    pub(super) async fn executor(&self) -> Result<&Arc<dyn Executor>, String> {
        let started = self
            .started
            .get_or_init(|| async { (self.start)().await.map_err(|error| reason(&error)) })
            .await;
        started.as_ref().map_err(Clone::clone)
    }

    /// Whether it runs the language.
    ///
    /// # Errors
    /// Why it does not.
    pub(super) async fn runs(&self, language: &Language) -> Result<(), String> {
        let names = |languages: &[Language]| {
            let names = languages.iter().map(Language::as_str).collect::<Vec<_>>().join(", ");
            format!("it runs {names}")
        };
        // What it may run at best is known without starting it.
        if !self.languages.contains(language) {
            return Err(names(&self.languages));
        }
        let languages = &self.executor().await?.capabilities().languages;
        if languages.contains(language) { Ok(()) } else { Err(names(languages)) }
    }
}

/// An error with its causes, in one line.
pub(super) fn reason(error: &crate::Error) -> String {
    let mut reason = error.to_string();
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    for cause in causes.map(ToString::to_string) {
        if !reason.contains(&cause) {
            reason.push_str(": ");
            reason.push_str(&cause);
        }
    }
    reason
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
