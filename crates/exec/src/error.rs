//! Failures of ours. A failing program is an [`Outcome`](crate::Outcome), not an error.

/// A failure of an executor or of its use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The executor cannot enforce or do what was asked.
    #[error("unsupported: {0}")]
    Unsupported(String),
    /// A value is invalid; the message says what to change.
    #[error("invalid {what}: {why}")]
    Invalid {
        /// The invalid value.
        what: &'static str,
        /// The reason, and what to write instead.
        why: String,
    },
    /// The sandbox did not start.
    #[error("cannot start {what}")]
    Start {
        /// The part that did not start.
        what: String,
        /// The cause.
        #[source]
        source: Cause,
    },
    /// The sandbox broke while it ran.
    #[error("lost the session: {what}")]
    Lost {
        /// The part that broke.
        what: String,
        /// The cause.
        #[source]
        source: Cause,
    },
    /// A file of ours could not be read or written.
    #[error("cannot {doing} `{path}`")]
    Storage {
        /// The attempted action, as a verb.
        doing: &'static str,
        /// The file or directory.
        path: String,
        /// The cause.
        #[source]
        source: Cause,
    },
    /// Packages could not be installed.
    #[error("cannot install {packages}: {why}")]
    Install {
        /// The packages.
        packages: String,
        /// The installer's reason.
        why: String,
    },
}

/// The cause of an [`Error`].
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// A result with our [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Returns the causes of an error, outermost first, without the error itself.
pub fn causes<'a>(
    error: &'a (dyn std::error::Error + 'a),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(error.source(), |cause| cause.source())
}

/// Returns an error with its causes in one line, outermost first. A cause that the text before it
/// contains already is not repeated.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    for cause in causes(error).map(ToString::to_string) {
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}
