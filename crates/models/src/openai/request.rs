//! The body of a request for chat completions.

use std::borrow::Cow;

use bytes::Bytes;
use cellblock_agents::{Content, Image, ModelError, ModelMessage, ModelRequest, Part, ToolCall};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::{Names, OpenAi, is_openai};
use crate::wire::{self, Base64, Settings, Tool, label, spoken, unseen};

/// Fields that only we set: with others in their place, the answer would not be what was asked for.
const OURS: &[&str] = &["messages", "stream"];

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    messages: Vec<Message<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u32>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    stop: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<StreamOptions>,
    #[serde(flatten)]
    extra: &'a Map<String, Value>,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

#[derive(Serialize)]
#[serde(tag = "role", rename_all = "lowercase")]
enum Message<'a> {
    System {
        content: &'a str,
    },
    User {
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        content: Said<'a>,
    },
    Assistant {
        #[serde(skip_serializing_if = "Option::is_none")]
        content: Option<Said<'a>>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        tool_calls: Vec<Called<'a>>,
    },
    Tool {
        tool_call_id: &'a str,
        content: &'a str,
    },
}

/// Text, or parts of it with images.
#[derive(Serialize)]
#[serde(untagged)]
enum Said<'a> {
    Text(Cow<'a, str>),
    Parts(Vec<SaidPart<'a>>),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum SaidPart<'a> {
    Text { text: Cow<'a, str> },
    ImageUrl { image_url: DataUrl<'a> },
}

/// An image inside an address, written without a copy of it.
#[derive(Serialize)]
struct DataUrl<'a> {
    #[serde(serialize_with = "data_url")]
    url: &'a Image,
}

fn data_url<S: Serializer>(image: &&Image, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!(
        "data:{};base64,{}",
        image.media_type,
        Base64(&image.data)
    ))
}

#[derive(Serialize)]
struct Called<'a> {
    id: &'a str,
    r#type: &'static str,
    function: Function<'a>,
}

#[derive(Serialize)]
struct Function<'a> {
    name: &'a str,
    arguments: &'a str,
}

/// The body of a request.
pub(super) fn body(
    client: &OpenAi,
    request: &ModelRequest,
    streamed: bool,
) -> Result<Bytes, ModelError> {
    let settings = Settings::of(&request.parameters, &client.parameters);
    settings.refuse_extra(&client.provider, OURS)?;
    let extra = &*settings.extra;
    let given = |field: &str| extra.contains_key(field);
    // OpenAI itself calls the old name of the limit out of date, and its newer models refuse it. Others know only that one.
    let limit =
        settings.max_tokens.filter(|_| !given("max_tokens") && !given("max_completion_tokens"));
    let (max_tokens, max_completion_tokens) =
        if is_openai(&client.base_url) { (None, limit) } else { (limit, None) };
    let body = Body {
        model: &client.model,
        messages: messages(request, client),
        tools: if given("tools") {
            Vec::new()
        } else {
            request.tools.iter().map(Tool::of).collect()
        },
        temperature: settings.temperature.filter(|_| !given("temperature")),
        top_p: settings.top_p.filter(|_| !given("top_p")),
        max_tokens,
        max_completion_tokens,
        stop: if given("stop") { &[] } else { settings.stop },
        seed: settings.seed.filter(|_| !given("seed")),
        stream: streamed,
        stream_options: (streamed && !given("stream_options"))
            .then_some(StreamOptions { include_usage: true }),
        extra,
    };
    wire::json(&body)
}

fn messages<'a>(request: &'a ModelRequest, client: &OpenAi) -> Vec<Message<'a>> {
    let sees = client.sees_images;
    let system =
        (!request.system.is_empty()).then_some(Message::System { content: &request.system });
    let others = request.messages.iter().map(|message| match message {
        ModelMessage::User { name, content } => match client.names {
            Names::Field => Message::User {
                name: name.as_deref().and_then(label),
                content: said(content, sees, None),
            },
            Names::Text => {
                Message::User { name: None, content: said(content, sees, name.as_deref()) }
            }
        },
        ModelMessage::Assistant { content, tool_calls } => Message::Assistant {
            // Servers want either content or tool calls, and some refuse empty content beside tool calls.
            content: (tool_calls.is_empty() || !content.is_empty())
                .then(|| said(content, sees, None)),
            tool_calls: tool_calls.iter().map(called).collect(),
        },
        ModelMessage::Tool(result) => {
            Message::Tool { tool_call_id: &result.id, content: &result.content }
        }
    });
    system.into_iter().chain(others).collect()
}

fn called(call: &ToolCall) -> Called<'_> {
    Called {
        id: &call.id,
        r#type: "function",
        function: Function { name: &call.name, arguments: &call.arguments },
    }
}

/// Content as plain text where that says all of it: servers for small models know nothing else. A name stands before it.
fn said<'a>(content: &'a Content, sees: bool, name: Option<&str>) -> Said<'a> {
    match content {
        Content::Text(text) => Said::Text(spoken(name, text.into())),
        Content::Parts(parts) if sees && content.images().next().is_some() => {
            let mut parts: Vec<_> = parts.iter().map(part).collect();
            match parts.first_mut() {
                Some(SaidPart::Text { text }) => *text = spoken(name, std::mem::take(text)),
                _ if name.is_some() => {
                    parts.insert(0, SaidPart::Text { text: spoken(name, "".into()) })
                }
                _ => {}
            }
            Said::Parts(parts)
        }
        Content::Parts(parts) => Said::Text(spoken(name, unseen(parts).into())),
    }
}

fn part(part: &Part) -> SaidPart<'_> {
    match part {
        Part::Text { text } => SaidPart::Text { text: text.into() },
        Part::Image(image) => SaidPart::ImageUrl { image_url: DataUrl { url: image } },
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
