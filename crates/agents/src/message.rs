//! Messages: text, images, tool calls, tool results and files.

use std::{borrow::Cow, sync::Arc};

use cellblock_exec::Artifact;
use serde::{Deserialize, Serialize};

/// One message of a chat. It has no point of view: [`name`](Self::name) is the speaker, and each
/// agent's model sees the agent's own messages as the assistant's and all others as the user's.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// The speaker.
    pub name: String,
    /// The content.
    pub content: Content,
    /// Calls of tools that the speaker asks for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    /// Results of the tool calls of an earlier message.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_results: Vec<ToolResult>,
    /// Files that code of an earlier message created, and blocks of it that were saved under names.
    /// Their content is not part of the JSON.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<Artifact>,
}

impl Message {
    /// Creates a message with content and nothing else.
    pub fn new(name: impl Into<String>, content: impl Into<Content>) -> Self {
        Self { name: name.into(), content: content.into(), ..Self::default() }
    }

    /// The text. Texts of several parts are joined with line feeds.
    pub fn text(&self) -> Cow<'_, str> {
        self.content.text()
    }

    /// True if there is no text but white space, no image, no tool call and no tool result.
    pub fn is_empty(&self) -> bool {
        self.content.is_empty() && self.tool_calls.is_empty() && self.tool_results.is_empty()
    }
}

/// The content of a message: text, or a list of texts and images. In JSON a string or a list.
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
    /// An image, for models that see images.
    Image(Image),
}

/// An image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// The media type, such as `image/png`.
    pub media_type: String,
    /// The bytes; base64 in JSON.
    #[serde(with = "base64_bytes")]
    pub data: Arc<Vec<u8>>,
}

impl Content {
    /// The text. Texts of several parts are joined with line feeds.
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

    /// True if there is no image, and no text but white space.
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

/// A call of a tool that a model asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCall {
    /// The id that the result refers to.
    pub id: String,
    /// The tool's name.
    pub name: String,
    /// The arguments as the model wrote them: JSON, unless the model made a mistake.
    pub arguments: String,
}

/// The result of a tool call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolResult {
    /// The call's id.
    pub id: String,
    /// The tool's name.
    pub name: String,
    /// The answer of the tool, or the error.
    pub content: String,
    /// True if the call failed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_error: bool,
}

mod base64_bytes {
    use std::sync::Arc;

    use base64::{Engine as _, prelude::BASE64_STANDARD};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(
        bytes: &Arc<Vec<u8>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64_STANDARD.encode(bytes.as_slice()))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Arc<Vec<u8>>, D::Error> {
        let text = String::deserialize(deserializer)?;
        BASE64_STANDARD.decode(text).map(Arc::new).map_err(D::Error::custom)
    }
}
