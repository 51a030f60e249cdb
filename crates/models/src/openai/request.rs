//! The body of a request for chat completions.

use std::borrow::Cow;

use bytes::Bytes;
use cellblock_agents::{Content, Image, ModelError, ModelMessage, ModelRequest, Part, ToolCall};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::client::{NamePlace, OpenAi, is_openai};
use crate::api::{
    self, Base64, FunctionTool, Settings, allowed_name, text_with_image_notes, with_speaker,
};

/// Fields that only this client sets: others in their place would change the meaning of the
/// request.
const RESERVED: &[&str] = &["messages", "stream"];

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    messages: Vec<Message<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<FunctionTool<'a>>,
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
        content: MessageContent<'a>,
    },
    Assistant {
        #[serde(skip_serializing_if = "Option::is_none")]
        content: Option<MessageContent<'a>>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        tool_calls: Vec<SentCall<'a>>,
    },
    Tool {
        tool_call_id: &'a str,
        content: &'a str,
    },
}

/// Text, or parts of text and images.
#[derive(Serialize)]
#[serde(untagged)]
enum MessageContent<'a> {
    Text(Cow<'a, str>),
    Parts(Vec<MessagePart<'a>>),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum MessagePart<'a> {
    Text { text: Cow<'a, str> },
    ImageUrl { image_url: DataUrl<'a> },
}

/// An image in a data URL, serialized without a copy.
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
struct SentCall<'a> {
    id: &'a str,
    r#type: &'static str,
    function: Function<'a>,
}

#[derive(Serialize)]
struct Function<'a> {
    name: &'a str,
    arguments: &'a str,
}

/// Returns the body of a request.
pub fn body(client: &OpenAi, request: &ModelRequest, stream: bool) -> Result<Bytes, ModelError> {
    let settings = Settings::merge(&request.parameters, &client.parameters);
    settings.check_extra(&client.provider, RESERVED)?;
    let extra = &*settings.extra;
    let is_extra = |field: &str| extra.contains_key(field);
    // OpenAI has renamed the limit, and its newer models refuse the old name. Others know only
    // that.
    let limit = settings
        .max_tokens
        .filter(|_| !is_extra("max_tokens") && !is_extra("max_completion_tokens"));
    let (max_tokens, max_completion_tokens) =
        if is_openai(&client.base_url) { (None, limit) } else { (limit, None) };
    let body = Body {
        model: &client.model,
        messages: messages(request, client),
        tools: if is_extra("tools") {
            Vec::new()
        } else {
            request.tools.iter().map(FunctionTool::new).collect()
        },
        temperature: settings.temperature.filter(|_| !is_extra("temperature")),
        top_p: settings.top_p.filter(|_| !is_extra("top_p")),
        max_tokens,
        max_completion_tokens,
        stop: if is_extra("stop") { &[] } else { settings.stop },
        seed: settings.seed.filter(|_| !is_extra("seed")),
        stream,
        stream_options: (stream && !is_extra("stream_options"))
            .then_some(StreamOptions { include_usage: true }),
        extra,
    };
    api::to_json(&body)
}

fn messages<'a>(request: &'a ModelRequest, client: &OpenAi) -> Vec<Message<'a>> {
    let sees = client.sees_images;
    let system =
        (!request.system.is_empty()).then_some(Message::System { content: &request.system });
    let others = request.messages.iter().map(|message| match message {
        ModelMessage::User { name, content } => match client.name_place {
            NamePlace::Field => Message::User {
                name: name.as_deref().and_then(allowed_name),
                content: content_of(content, sees, None),
            },
            NamePlace::Text => {
                Message::User { name: None, content: content_of(content, sees, name.as_deref()) }
            }
        },
        ModelMessage::Assistant { content, tool_calls } => Message::Assistant {
            // Servers require content or tool calls, and some refuse empty content beside tool
            // calls.
            content: (tool_calls.is_empty() || !content.is_empty())
                .then(|| content_of(content, sees, None)),
            tool_calls: tool_calls.iter().map(sent_call).collect(),
        },
        ModelMessage::Tool(result) => {
            Message::Tool { tool_call_id: &result.id, content: &result.content }
        }
    });
    system.into_iter().chain(others).collect()
}

fn sent_call(call: &ToolCall) -> SentCall<'_> {
    SentCall {
        id: &call.id,
        r#type: "function",
        function: Function { name: &call.name, arguments: &call.arguments },
    }
}

/// Returns content as plain text if it has no images to send: servers for small models accept
/// nothing else. The name of the speaker, if any, stands before it.
fn content_of<'a>(content: &'a Content, sees: bool, name: Option<&str>) -> MessageContent<'a> {
    match content {
        Content::Text(text) => MessageContent::Text(with_speaker(name, text.into())),
        Content::Parts(parts) if sees && content.images().next().is_some() => {
            let mut parts: Vec<_> = parts.iter().map(part).collect();
            match parts.first_mut() {
                Some(MessagePart::Text { text }) => {
                    *text = with_speaker(name, std::mem::take(text))
                }
                _ if name.is_some() => {
                    parts.insert(0, MessagePart::Text { text: with_speaker(name, "".into()) })
                }
                _ => {}
            }
            MessageContent::Parts(parts)
        }
        Content::Parts(parts) => {
            MessageContent::Text(with_speaker(name, text_with_image_notes(parts).into()))
        }
    }
}

fn part(part: &Part) -> MessagePart<'_> {
    match part {
        Part::Text { text } => MessagePart::Text { text: text.into() },
        Part::Image(image) => MessagePart::ImageUrl { image_url: DataUrl { url: image } },
    }
}

#[cfg(test)]
mod tests;
