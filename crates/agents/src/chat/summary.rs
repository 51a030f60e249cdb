//! The kinds of summary of a chat.

use std::{fmt, sync::Arc};

use crate::{message::Message, model::ModelClient};

/// The kind of a chat's summary.
#[derive(Clone, Default)]
pub enum Summary {
    /// The last message, without the word `TERMINATE`.
    #[default]
    LastMessage,
    /// The answer of a model.
    Reflection {
        /// The request; `None` for [`prompts::REFLECTION`](crate::prompts::REFLECTION).
        prompt: Option<String>,
        /// The model; `None` for the one of the last agent that has one.
        model: Option<Arc<dyn ModelClient>>,
    },
    /// A function of the messages.
    Custom(MakeSummary),
    /// No summary: it is empty.
    Nothing,
}

/// Summarizes messages.
pub type MakeSummary = Arc<dyn Fn(&[Message]) -> String + Send + Sync>;

impl fmt::Debug for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Summary::LastMessage => "LastMessage",
            Summary::Reflection { .. } => "Reflection",
            Summary::Custom(_) => "Custom",
            Summary::Nothing => "Nothing",
        })
    }
}
