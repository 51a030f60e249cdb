//! The body of a request to Ollama.

use std::{borrow::Cow, collections::BTreeMap};

use bytes::Bytes;
use cellblock_agents::{Content, Image, ModelError, ModelMessage, ModelRequest, ToolCall};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::client::Ollama;
use crate::api::{self, Base64, FunctionTool, Settings, with_speaker};

/// Fields that only this client sets.
const RESERVED: &[&str] = &["messages", "stream"];

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    messages: Vec<Message<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<FunctionTool<'a>>,
    stream: bool,
    #[serde(skip_serializing_if = "Map::is_empty")]
    options: Map<String, Value>,
    #[serde(flatten)]
    extra: BTreeMap<&'a str, &'a Value>,
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    content: Cow<'a, str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    images: Vec<ImageData<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<SentCall<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_name: Option<&'a str>,
}

struct ImageData<'a>(&'a Image);

impl Serialize for ImageData<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Base64(&self.0.data))
    }
}

#[derive(Serialize)]
struct SentCall<'a> {
    function: Function<'a>,
}

#[derive(Serialize)]
struct Function<'a> {
    name: &'a str,
    arguments: Value,
}

/// Returns the body of a request.
pub fn body(client: &Ollama, request: &ModelRequest, stream: bool) -> Result<Bytes, ModelError> {
    let settings = Settings::merge(&request.parameters, &client.parameters);
    settings.check_extra(&client.provider, RESERVED)?;
    let has_tools = settings.extra.contains_key("tools");
    let body = Body {
        model: &client.model,
        messages: messages(request, client.sees_images),
        tools: if has_tools {
            Vec::new()
        } else {
            request.tools.iter().map(FunctionTool::new).collect()
        },
        stream,
        options: options(&settings)?,
        extra: settings
            .extra
            .iter()
            .map(|(name, value)| (name.as_str(), value))
            .filter(|(name, _)| *name != "options")
            .collect(),
    };
    api::to_json(&body)
}

/// Returns the options from the parameters, merged with those of the extra fields, which win.
fn options(settings: &Settings<'_>) -> Result<Map<String, Value>, ModelError> {
    let mut options = Map::new();
    let mut set = |name: &str, value: Option<Value>| {
        value.map(|value| options.insert(name.to_owned(), value))
    };
    set("temperature", settings.temperature.map(Value::from));
    set("top_p", settings.top_p.map(Value::from));
    set("num_predict", settings.max_tokens.map(Value::from));
    set("seed", settings.seed.map(Value::from));
    set("stop", (!settings.stop.is_empty()).then(|| Value::from(settings.stop)));
    match settings.extra.get("options") {
        None | Some(Value::Null) => {}
        Some(Value::Object(given)) => options.extend(given.clone()),
        Some(_) => {
            let what =
                "`options` of a request to Ollama must be a table, such as `{ num_ctx = 8192 }`"
                    .to_owned();
            return Err(ModelError::Start { what, source: None });
        }
    }
    Ok(options)
}

fn messages(request: &ModelRequest, sees: bool) -> Vec<Message<'_>> {
    let plain = |role, content| Message {
        role,
        content,
        images: Vec::new(),
        tool_calls: Vec::new(),
        tool_name: None,
    };
    let system =
        (!request.system.is_empty()).then(|| plain("system", request.system.as_str().into()));
    let others = request.messages.iter().map(|message| match message {
        ModelMessage::User { name, content } => {
            let text = with_speaker(name.as_deref(), text_of(content, sees));
            Message { images: images(content, sees), ..plain("user", text) }
        }
        ModelMessage::Assistant { content, tool_calls } => Message {
            tool_calls: tool_calls.iter().map(sent_call).collect(),
            ..plain("assistant", text_of(content, sees))
        },
        ModelMessage::Tool(result) => Message {
            tool_name: Some(&result.name),
            ..plain("tool", result.content.as_str().into())
        },
    });
    system.into_iter().chain(others).collect()
}

fn sent_call(call: &ToolCall) -> SentCall<'_> {
    SentCall { function: Function { name: &call.name, arguments: api::arguments_object(call) } }
}

/// Returns the text of content. A model that sees gets the images beside it.
fn text_of(content: &Content, sees: bool) -> Cow<'_, str> {
    match content {
        Content::Parts(parts) if !sees => api::text_with_image_notes(parts).into(),
        content => content.text(),
    }
}

fn images(content: &Content, sees: bool) -> Vec<ImageData<'_>> {
    content.images().filter(|_| sees).map(ImageData).collect()
}

#[cfg(test)]
mod tests;
