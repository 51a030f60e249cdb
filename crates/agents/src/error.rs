//! Errors before a chat starts, and errors that end it.

use std::{fmt, path::Path};

use cellblock_exec::Cause;

use crate::model::ModelError;

/// An error of this crate. An error in the middle of a chat ends it: it becomes the
/// [`stop`](crate::ChatResult::stop) of its result, which keeps the history.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The description of a chat is invalid; the message says what to change.
    #[error("{0}")]
    Invalid(String),
    /// A model failed.
    #[error("the model of `{agent}` failed")]
    Model {
        /// The agent of the model.
        agent: String,
        /// The failure.
        #[source]
        source: ModelError,
    },
    /// A sandbox failed.
    #[error("the executor of `{agent}` failed")]
    Code {
        /// The agent that runs code.
        agent: String,
        /// The failure.
        #[source]
        source: cellblock_exec::Error,
    },
    /// A question to a person failed.
    #[error("the person behind `{agent}` cannot be asked")]
    Human {
        /// The agent that the person stands behind.
        agent: String,
        /// The failure.
        #[source]
        source: std::io::Error,
    },
    /// A saved chat cannot be created, read or written.
    #[error("cannot {operation} the saved chat `{path}`")]
    Log {
        /// The operation.
        operation: LogOperation,
        /// The file.
        path: String,
        /// The cause.
        #[source]
        source: Cause,
    },
    /// A nested chat or a function of the caller failed.
    #[error("{what}")]
    Other {
        /// The failure.
        what: String,
        /// Its cause.
        #[source]
        source: Cause,
    },
}

/// An operation on a saved chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogOperation {
    /// Creating its file.
    Create,
    /// Reading it.
    Read,
    /// Continuing it.
    Resume,
    /// Writing to it.
    Write,
}

impl fmt::Display for LogOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LogOperation::Create => "create",
            LogOperation::Read => "read",
            LogOperation::Resume => "resume",
            LogOperation::Write => "write",
        })
    }
}

impl Error {
    /// An error of the log at `path`.
    pub(crate) fn log(operation: LogOperation, path: &Path, source: impl Into<Cause>) -> Self {
        Error::Log { operation, path: path.display().to_string(), source: source.into() }
    }
}

/// The texts of the causes of an error, from the outside in.
pub(crate) fn causes(error: &Error) -> Vec<String> {
    cellblock_exec::causes(error).map(ToString::to_string).collect()
}

/// A result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
