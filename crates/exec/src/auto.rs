//! The executor `auto`: it runs each block in the strictest executor that can.
//!
//! Candidates are ordered, strictest first, and start when a block first needs them. A block goes
//! to the first candidate that runs its language, enforces the session's limits and grants its
//! network access; the result says why the stricter ones were passed over. Before a block runs, its
//! session gets the files that the others have made or changed.
//!
//! Python stays in one candidate, because its variables live there. It moves only when a package
//! cannot be installed there but can in a weaker candidate. The blocks that succeeded so far then
//! run again, and their output is dropped. Functions of the host are not called again:
//! [`HostReplay`](crate::HostReplay) returns the first answers.
//!
//! The session keeps the workspace itself: the input files and the artifacts of each block, with a
//! number for each change. Before a block runs, its candidate gets the changes that it has not
//! seen. A candidate that fails to start is not tried again, and a note has the reason. Only a
//! candidate of the list can run a block, so the caller who makes the list decides how weak the
//! isolation can get.

mod candidate;
mod session;

use std::sync::Arc;

use async_trait::async_trait;

pub use candidate::{Candidate, Starting};
use session::{AutoSession, NAME};

use crate::{
    Capabilities, Error, Executor, Isolation, Language, Limit, Result, Session, SessionSpec,
};

/// An executor that chooses among others, block by block.
#[derive(Debug)]
pub struct Auto {
    candidates: Arc<Vec<Candidate>>,
    capabilities: Capabilities,
}

impl Auto {
    /// Creates the executor from `candidates`, ordered strictest first.
    ///
    /// # Errors
    /// [`Error::Unsupported`] when there is none.
    pub fn new(candidates: Vec<Candidate>) -> Result<Self> {
        let Some(strictest) = candidates.first().map(|candidate| candidate.isolation) else {
            return Err(Error::Unsupported(
                "no executor remains to choose from; allow a weaker isolation".to_owned(),
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
            // Each candidate refuses what it cannot enforce, and the next one is tried.
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
