//! What goes wrong before a chat, or cannot be told in its result.

use crate::model::ModelError;
use cellblock_exec::Cause;

/// What went wrong. What goes wrong in the middle of a chat ends it, and is the reason in its
/// [`ChatResult`](crate::chat::ChatResult), which keeps the history.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The chat is described in a way that makes no sense; the message says what to change.
    #[error("{0}")]
    Invalid(String),
    /// A model failed.
    #[error("the model of {agent} failed")]
    Model {
        /// The agent whose model it is.
        agent: String,
        /// How.
        #[source]
        source: ModelError,
    },
    /// A sandbox failed.
    #[error("the executor of {agent} failed")]
    Code {
        /// The agent that runs code.
        agent: String,
        /// How.
        #[source]
        source: cellblock_exec::Error,
    },
    /// A person could not be asked.
    #[error("the person behind {agent} cannot be asked")]
    Human {
        /// The agent.
        agent: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A saved chat cannot be read or written.
    #[error("cannot {doing} the saved chat {path}")]
    Log {
        /// What was tried.
        doing: &'static str,
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: Cause,
    },
    /// A function of the caller's failed.
    #[error("{what}")]
    Other {
        /// What failed.
        what: String,
        /// Why.
        #[source]
        source: Cause,
    },
}

/// A result with our [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
