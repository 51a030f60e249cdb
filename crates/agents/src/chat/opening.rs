//! The first message of a chat.

use std::sync::Arc;

use crate::message::{Content, Message, Part};

/// The start of a chat.
#[derive(Clone)]
pub enum Opening {
    /// A message.
    Say(Content),
    /// A function of the messages so far and of the carryover.
    With(MakeOpening),
    /// No message: the last message of the history is answered.
    Nothing,
}

/// Creates a first message from the messages so far and the carryover.
pub type MakeOpening = Arc<dyn Fn(&[Message], &[String]) -> Content + Send + Sync>;

impl Opening {
    /// The first message, with the carryover in AutoGen's form.
    pub(crate) fn content(self, history: &[Message], carryover: &[String]) -> Option<Content> {
        match self {
            Opening::Nothing => None,
            Opening::With(function) => Some(function(history, carryover)),
            Opening::Say(content) if carryover.is_empty() => Some(content),
            Opening::Say(content) => {
                let context = format!("Context: \n{}", carryover.join("\n"));
                Some(match content {
                    Content::Text(text) => Content::Text(format!("{text}\n{context}")),
                    Content::Parts(mut parts) => {
                        parts.push(Part::Text { text: context });
                        Content::Parts(parts)
                    }
                })
            }
        }
    }
}

impl From<&str> for Opening {
    fn from(text: &str) -> Self {
        Opening::Say(text.into())
    }
}

impl From<String> for Opening {
    fn from(text: String) -> Self {
        Opening::Say(text.into())
    }
}

impl From<Content> for Opening {
    fn from(content: Content) -> Self {
        Opening::Say(content)
    }
}
