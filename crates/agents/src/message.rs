//! What agents say to each other.

use std::{borrow::Cow, sync::Arc};

use cellblock_exec::Artifact;
use serde::{Deserialize, Serialize};

/// One message of a chat. It belongs to nobody's point of view: who spoke is in [`name`](Self::name), and each agent sees
/// its own messages as the assistant's and all others as the user's.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// The agent that said it.
    pub name: String,
    /// What it said.
    pub content: Content,
    /// Tools that it wants to be called.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    /// What came of the tool calls of an earlier message.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_results: Vec<ToolResult>,
    /// Files that code of an earlier message made, and blocks of it that were saved under names. Their content is not part of
    /// the JSON.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<Artifact>,
}

impl Message {
    /// A message with content and nothing else.
    pub fn new(name: impl Into<String>, content: impl Into<Content>) -> Self {
        Self { name: name.into(), content: content.into(), ..Self::default() }
    }

    /// Its text; the texts of several parts are joined by line ends.
    pub fn text(&self) -> Cow<'_, str> {
        self.content.text()
    }

    /// Whether it says nothing at all: no text but white space, no image, no tool call and no result of one.
    pub fn is_empty(&self) -> bool {
        self.content.is_empty() && self.tool_calls.is_empty() && self.tool_results.is_empty()
    }
}

/// The content of a message: text, or parts of which some are images. In JSON a string or a list of parts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Content {
    /// Text.
    Text(String),
    /// Text and images, in order.
    Parts(Vec<Part>),
}

/// A part of a message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Part {
    /// Text.
    Text {
        /// The text.
        text: String,
    },
    /// An image, for models that see.
    Image(Image),
}

/// An image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Its media type, such as `image/png`.
    pub media_type: String,
    /// Its bytes; base64 in JSON.
    #[serde(with = "base64_bytes")]
    pub data: Arc<Vec<u8>>,
}

impl Content {
    /// The text; the texts of several parts are joined by line ends.
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Content::Text(text) => Cow::Borrowed(text),
            Content::Parts(parts) => {
                let mut texts = parts.iter().filter_map(|part| match part {
                    Part::Text { text } => Some(text.as_str()),
                    Part::Image(_) => None,
                });
                match (texts.next(), texts.next()) {
                    (None, _) => Cow::Borrowed(""),
                    (Some(one), None) => Cow::Borrowed(one),
                    (Some(one), Some(two)) => {
                        let mut all = format!("{one}\n{two}");
                        texts.for_each(|text| {
                            all.push('\n');
                            all.push_str(text);
                        });
                        Cow::Owned(all)
                    }
                }
            }
        }
    }

    /// The images, in order.
    pub fn images(&self) -> impl Iterator<Item = &Image> {
        let parts = match self {
            Content::Text(_) => &[][..],
            Content::Parts(parts) => parts,
        };
        parts.iter().filter_map(|part| match part {
            Part::Text { .. } => None,
            Part::Image(image) => Some(image),
        })
    }

    /// Whether there is neither an image nor text other than white space.
    pub fn is_empty(&self) -> bool {
        match self {
            Content::Text(text) => text.trim().is_empty(),
            Content::Parts(parts) => parts.iter().all(|part| match part {
                Part::Text { text } => text.trim().is_empty(),
                Part::Image(_) => false,
            }),
        }
    }
}

impl Default for Content {
    fn default() -> Self {
        Content::Text(String::new())
    }
}

impl From<&str> for Content {
    fn from(text: &str) -> Self {
        Content::Text(text.to_owned())
    }
}

impl From<String> for Content {
    fn from(text: String) -> Self {
        Content::Text(text)
    }
}

impl From<Vec<Part>> for Content {
    fn from(parts: Vec<Part>) -> Self {
        Content::Parts(parts)
    }
}

/// A tool that a model wants to be called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCall {
    /// What its result refers to.
    pub id: String,
    /// The tool's name.
    pub name: String,
    /// Its arguments as the model wrote them: JSON, if the model did it right.
    pub arguments: String,
}

/// What came of a tool call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolResult {
    /// The call's id.
    pub id: String,
    /// The tool's name.
    pub name: String,
    /// What the tool gave, or why there is nothing.
    pub content: String,
    /// Whether it failed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_error: bool,
}

/// Bytes as base64.
mod base64_bytes {
    use std::sync::Arc;

    use base64::{Engine as _, prelude::BASE64_STANDARD};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(
        bytes: &Arc<Vec<u8>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64_STANDARD.encode(bytes.as_slice()))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Arc<Vec<u8>>, D::Error> {
        let text = String::deserialize(deserializer)?;
        BASE64_STANDARD.decode(text).map(Arc::new).map_err(D::Error::custom)
    }
}
