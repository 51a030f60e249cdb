//! Choosing an executor for each block: the strictest that can run it.
//!
//! The candidates stand in order, strictest first. A session of [`Auto`] starts with none of them. Each block goes to the
//! first candidate that runs its language, grants what the session may reach and enforces its limits, which is started
//! only then; the result says why the stricter ones did not run it. Files go along: before a block runs, its session gets
//! what the others have made or changed.
//!
//! Python stays where it is, for the sake of its variables. When a package can be installed in a weaker candidate only,
//! Python moves there: the blocks that succeeded so far are run again, their output dropped. What they called on the host is
//! not called again: they get the answers of the first time.

mod candidate;
mod record;
mod session;

use std::sync::Arc;

use async_trait::async_trait;

pub use candidate::{Candidate, Starting};
use session::AutoSession;

use crate::{
    Capabilities, Error, Executor, Isolation, Language, Limit, Result, Session, SessionSpec,
};

/// The name of the executor that chooses.
const NAME: &str = "auto";

/// An executor that chooses among others, block by block.
#[derive(Debug)]
pub struct Auto {
    candidates: Arc<Vec<Candidate>>,
    capabilities: Capabilities,
}

impl Auto {
    /// Chooses among `candidates`, which stand in order, strictest first.
    ///
    /// # Errors
    /// [`Error::Unsupported`] when there is none.
    pub fn new(candidates: Vec<Candidate>) -> Result<Self> {
        let Some(strictest) = candidates.first().map(|candidate| candidate.isolation) else {
            return Err(Error::Unsupported(
                "no executor is left to choose from; allow a weaker isolation".to_owned(),
            ));
        };
        let mut languages: Vec<Language> = Vec::new();
        for language in candidates.iter().flat_map(|candidate| &candidate.languages) {
            if !languages.contains(language) {
                languages.push(language.clone());
            }
        }
        let capabilities = Capabilities {
            languages,
            isolation: strictest,
            // Each candidate refuses what it cannot enforce, and then the next one is asked.
            limits: Limit::ALL.to_vec(),
            watched: Vec::new(),
            network: candidates.len() > 1 || strictest > Isolation::Wasm,
            state: true,
            fork: false,
            freeze: false,
            install: true,
        };
        Ok(Self { candidates: Arc::new(candidates), capabilities })
    }
}

#[async_trait]
impl Executor for Auto {
    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn open(&self, spec: SessionSpec) -> Result<Box<dyn Session>> {
        spec.limits.check()?;
        Ok(Box::new(AutoSession::new(self.candidates.clone(), spec)?))
    }
}
