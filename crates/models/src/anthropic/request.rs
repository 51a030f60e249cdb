//! The body of a request for a message.

use std::borrow::Cow;

use bytes::Bytes;
use cellblock_agents::{Content, Image, ModelError, ModelMessage, ModelRequest, Part, ToolSpec};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::Anthropic;
use crate::wire::{self, Base64, Settings, spoken};

/// The limit on tokens that is sent when nobody set one: the API demands one.
const DEFAULT_MAX_TOKENS: u32 = 4096;

/// Fields that only we set.
const OURS: &[&str] = &["messages", "stream", "system"];

/// What the user says where the API wants a user's message and the conversation has none.
const BEGIN: &str = "(You begin.)";
const GO_ON: &str = "(Go on.)";

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "str::is_empty")]
    system: &'a str,
    messages: Vec<Message<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool<'a>>,
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
struct Tool<'a> {
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
        source: Source<'a>,
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
struct Source<'a> {
    r#type: &'static str,
    media_type: &'a str,
    #[serde(serialize_with = "base64")]
    data: &'a Image,
}

fn base64<S: Serializer>(image: &&Image, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&Base64(&image.data))
}

/// The body of a request.
pub(super) fn body(
    client: &Anthropic,
    request: &ModelRequest,
    streamed: bool,
) -> Result<Bytes, ModelError> {
    let settings = Settings::of(&request.parameters, &client.parameters);
    settings.refuse_extra(&client.provider, OURS)?;
    let extra = &*settings.extra;
    let given = |field: &str| extra.contains_key(field);
    let body = Body {
        model: &client.model,
        max_tokens: (!given("max_tokens"))
            .then_some(settings.max_tokens.unwrap_or(DEFAULT_MAX_TOKENS)),
        system: &request.system,
        messages: messages(&request.messages, client.sees_images),
        tools: if given("tools") { Vec::new() } else { request.tools.iter().map(tool).collect() },
        temperature: settings.temperature.filter(|_| !given("temperature")),
        top_p: settings.top_p.filter(|_| !given("top_p")),
        stop_sequences: if given("stop_sequences") { &[] } else { settings.stop },
        stream: streamed,
        extra,
    };
    wire::json(&body)
}

fn tool(spec: &ToolSpec) -> Tool<'_> {
    Tool { name: &spec.name, description: &spec.description, input_schema: &spec.parameters }
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
        // Results come before whatever else a user says after a tool call.
        turn.content.sort_by_key(|block| !matches!(block, Block::ToolResult { .. }));
    }
    let word = |text: &'static str| Message {
        role: Role::User,
        content: vec![Block::Text { text: text.into() }],
    };
    if turns.first().is_none_or(|first| first.role == Role::Assistant) {
        turns.insert(0, word(BEGIN));
    }
    if turns.last().is_some_and(|last| last.role == Role::Assistant) {
        turns.push(word(GO_ON));
    }
    turns
}

fn blocks(message: &ModelMessage, sees: bool) -> (Role, Vec<Block<'_>>) {
    match message {
        ModelMessage::User { name, content } => {
            let mut blocks = said(content, sees);
            match blocks.first_mut() {
                Some(Block::Text { text }) => *text = spoken(name.as_deref(), std::mem::take(text)),
                Some(_) => {
                    blocks.splice(..0, words(spoken(name.as_deref(), "".into()))).for_each(drop)
                }
                None => {}
            }
            (Role::User, blocks)
        }
        ModelMessage::Assistant { content, tool_calls } => {
            let mut blocks = said(content, sees);
            blocks.extend(tool_calls.iter().map(|call| Block::ToolUse {
                id: identifier(&call.id),
                name: &call.name,
                input: wire::arguments(call),
            }));
            (Role::Assistant, blocks)
        }
        ModelMessage::Tool(result) => {
            let result = Block::ToolResult {
                tool_use_id: identifier(&result.id),
                content: &result.content,
                is_error: result.is_error,
            };
            (Role::User, vec![result])
        }
    }
}

/// Content as blocks.
fn said(content: &Content, sees: bool) -> Vec<Block<'_>> {
    match content {
        Content::Text(text) => words(text).into_iter().collect(),
        Content::Parts(parts) if sees => parts
            .iter()
            .filter_map(|part| match part {
                Part::Text { text } => words(text),
                Part::Image(image) => {
                    let source =
                        Source { r#type: "base64", media_type: &image.media_type, data: image };
                    Some(Block::Image { source })
                }
            })
            .collect(),
        Content::Parts(parts) => words(wire::unseen(parts)).into_iter().collect(),
    }
}

/// Text as a block. The API refuses text that is empty or white space.
fn words<'a>(text: impl Into<Cow<'a, str>>) -> Option<Block<'a>> {
    let text = text.into();
    (!text.trim().is_empty()).then_some(Block::Text { text })
}

/// A call's id as the API allows it; ids of other providers' models may be in the history.
fn identifier(id: &str) -> String {
    let allowed =
        |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | '-');
    id.chars().map(|character| if allowed(character) { character } else { '_' }).collect()
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
