//! The body of a request to Anthropic.

use std::borrow::Cow;

use bytes::Bytes;
use cellblock_agents::{Content, Image, ModelError, ModelMessage, ModelRequest, Part, ToolSpec};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::client::Anthropic;
use crate::api::{self, Base64, Settings, with_speaker};

/// The limit on tokens if neither request nor client sets one: the API requires it.
const DEFAULT_MAX_TOKENS: u32 = 4096;

/// Fields that only this client sets.
const RESERVED: &[&str] = &["messages", "stream", "system"];

/// The user's messages where the API requires one and the conversation has none.
const BEGIN: &str = "(You begin.)";
const CONTINUE: &str = "(Go on.)";

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "str::is_empty")]
    system: &'a str,
    messages: Vec<Message<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<ToolBody<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    stop_sequences: &'a [String],
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stream: bool,
    #[serde(flatten)]
    extra: &'a Map<String, Value>,
}

#[derive(Serialize)]
struct ToolBody<'a> {
    name: &'a str,
    description: &'a str,
    input_schema: &'a Value,
}

#[derive(Serialize)]
struct Message<'a> {
    role: Role,
    content: Vec<Block<'a>>,
}

#[derive(Serialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Role {
    User,
    Assistant,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block<'a> {
    Text {
        text: Cow<'a, str>,
    },
    Image {
        source: ImageSource<'a>,
    },
    ToolUse {
        id: String,
        name: &'a str,
        input: Value,
    },
    ToolResult {
        tool_use_id: String,
        content: &'a str,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        is_error: bool,
    },
}

#[derive(Serialize)]
struct ImageSource<'a> {
    r#type: &'static str,
    media_type: &'a str,
    #[serde(serialize_with = "base64")]
    data: &'a Image,
}

fn base64<S: Serializer>(image: &&Image, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&Base64(&image.data))
}

/// Returns the body of a request.
pub fn body(client: &Anthropic, request: &ModelRequest, stream: bool) -> Result<Bytes, ModelError> {
    let settings = Settings::merge(&request.parameters, &client.parameters);
    settings.check_extra(&client.provider, RESERVED)?;
    let extra = &*settings.extra;
    let is_extra = |field: &str| extra.contains_key(field);
    let body = Body {
        model: &client.model,
        max_tokens: (!is_extra("max_tokens"))
            .then_some(settings.max_tokens.unwrap_or(DEFAULT_MAX_TOKENS)),
        system: &request.system,
        messages: messages(&request.messages, client.sees_images),
        tools: if is_extra("tools") {
            Vec::new()
        } else {
            request.tools.iter().map(tool).collect()
        },
        temperature: settings.temperature.filter(|_| !is_extra("temperature")),
        top_p: settings.top_p.filter(|_| !is_extra("top_p")),
        stop_sequences: if is_extra("stop_sequences") { &[] } else { settings.stop },
        stream,
        extra,
    };
    api::to_json(&body)
}

fn tool(spec: &ToolSpec) -> ToolBody<'_> {
    ToolBody { name: &spec.name, description: &spec.description, input_schema: &spec.parameters }
}

fn messages(messages: &[ModelMessage], sees: bool) -> Vec<Message<'_>> {
    let mut turns: Vec<Message<'_>> = Vec::with_capacity(messages.len() + 2);
    for message in messages {
        let (role, content) = blocks(message, sees);
        if content.is_empty() {
            continue;
        }
        match turns.last_mut() {
            Some(last) if last.role == role => last.content.extend(content),
            _ => turns.push(Message { role, content }),
        }
    }
    for turn in &mut turns {
        // The API requires results before any other block after a tool call.
        turn.content.sort_by_key(|block| !matches!(block, Block::ToolResult { .. }));
    }
    let user = |text: &'static str| Message {
        role: Role::User,
        content: vec![Block::Text { text: text.into() }],
    };
    if turns.first().is_none_or(|first| first.role == Role::Assistant) {
        turns.insert(0, user(BEGIN));
    }
    if turns.last().is_some_and(|last| last.role == Role::Assistant) {
        turns.push(user(CONTINUE));
    }
    turns
}

fn blocks(message: &ModelMessage, sees: bool) -> (Role, Vec<Block<'_>>) {
    match message {
        ModelMessage::User { name, content } => {
            let mut blocks = content_blocks(content, sees);
            match blocks.first_mut() {
                Some(Block::Text { text }) => {
                    *text = with_speaker(name.as_deref(), std::mem::take(text))
                }
                Some(_) => blocks
                    .splice(..0, text_block(with_speaker(name.as_deref(), "".into())))
                    .for_each(drop),
                None => {}
            }
            (Role::User, blocks)
        }
        ModelMessage::Assistant { content, tool_calls } => {
            let mut blocks = content_blocks(content, sees);
            blocks.extend(tool_calls.iter().map(|call| Block::ToolUse {
                id: allowed_id(&call.id),
                name: &call.name,
                input: api::arguments_object(call),
            }));
            (Role::Assistant, blocks)
        }
        ModelMessage::Tool(result) => {
            let result = Block::ToolResult {
                tool_use_id: allowed_id(&result.id),
                content: &result.content,
                is_error: result.is_error,
            };
            (Role::User, vec![result])
        }
    }
}

/// Returns content as blocks.
fn content_blocks(content: &Content, sees: bool) -> Vec<Block<'_>> {
    match content {
        Content::Text(text) => text_block(text).into_iter().collect(),
        Content::Parts(parts) if sees => parts
            .iter()
            .filter_map(|part| match part {
                Part::Text { text } => text_block(text),
                Part::Image(image) => {
                    let source = ImageSource {
                        r#type: "base64",
                        media_type: &image.media_type,
                        data: image,
                    };
                    Some(Block::Image { source })
                }
            })
            .collect(),
        Content::Parts(parts) => {
            text_block(api::text_with_image_notes(parts)).into_iter().collect()
        }
    }
}

/// Returns text as a block; `None` for white space, which the API refuses.
fn text_block<'a>(text: impl Into<Cow<'a, str>>) -> Option<Block<'a>> {
    let text = text.into();
    (!text.trim().is_empty()).then_some(Block::Text { text })
}

/// Replaces characters that the API refuses in the id of a tool call: the history may hold ids of
/// other providers' models.
fn allowed_id(id: &str) -> String {
    let allowed =
        |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | '-');
    id.chars().map(|character| if allowed(character) { character } else { '_' }).collect()
}

#[cfg(test)]
mod tests;
