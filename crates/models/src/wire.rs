//! What the bodies of all providers' requests have in common.

use std::{borrow::Cow, fmt};

use base64::{display::Base64Display, prelude::BASE64_STANDARD};
use bytes::Bytes;
use cellblock_agents::{ModelError, Parameters, Part, ToolCall, ToolSpec};
use serde::Serialize;
use serde_json::{Map, Value};

/// The longest name that providers take.
const MAX_NAME: usize = 64;

/// How a model is to answer: what the request says, and what the client says where the request leaves it open.
pub(crate) struct Settings<'a> {
    pub(crate) temperature: Option<f64>,
    pub(crate) top_p: Option<f64>,
    pub(crate) max_tokens: Option<u32>,
    pub(crate) stop: &'a [String],
    pub(crate) seed: Option<u64>,
    pub(crate) extra: Cow<'a, Map<String, Value>>,
}

impl<'a> Settings<'a> {
    pub(crate) fn of(asked: &'a Parameters, usual: &'a Parameters) -> Self {
        let extra = match (asked.extra.is_empty(), usual.extra.is_empty()) {
            (_, true) => Cow::Borrowed(&asked.extra),
            (true, false) => Cow::Borrowed(&usual.extra),
            (false, false) => {
                let mut both = usual.extra.clone();
                both.extend(asked.extra.clone());
                Cow::Owned(both)
            }
        };
        Self {
            temperature: asked.temperature.or(usual.temperature),
            top_p: asked.top_p.or(usual.top_p),
            max_tokens: asked.max_tokens.or(usual.max_tokens),
            stop: if asked.stop.is_empty() { &usual.stop } else { &asked.stop },
            seed: asked.seed.or(usual.seed),
            extra,
        }
    }

    /// Refuses further fields that would take the place of ours.
    pub(crate) fn refuse_extra(&self, provider: &str, ours: &[&str]) -> Result<(), ModelError> {
        let wrong = ours.iter().chain(&["model"]).find(|field| self.extra.contains_key(**field));
        wrong.map_or(Ok(()), |field| {
            Err(ModelError::Start {
                what: format!("`extra` cannot set `{field}` of a request to {provider}: the client sets it itself"),
                source: None,
            })
        })
    }
}

/// A tool as OpenAI's API and those made after it have it.
#[derive(Serialize)]
pub(crate) struct Tool<'a> {
    r#type: &'static str,
    function: &'a ToolSpec,
}

impl<'a> Tool<'a> {
    pub(crate) fn of(spec: &'a ToolSpec) -> Self {
        Self { r#type: "function", function: spec }
    }
}

/// A body as JSON.
pub(crate) fn json(body: &impl Serialize) -> Result<Bytes, ModelError> {
    serde_json::to_vec(body).map(Bytes::from).map_err(|error| ModelError::Start {
        what: "the request cannot be written as JSON".to_owned(),
        source: Some(Box::new(error)),
    })
}

/// Bytes that are written as base64, without a copy.
pub(crate) struct Base64<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Base64<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Base64Display::new(self.0, &BASE64_STANDARD).fmt(f)
    }
}

/// A name as providers allow it: letters, digits, `_` and `-`, at most 64. `None` if nothing is left of it.
pub(crate) fn label(name: &str) -> Option<String> {
    let label: String =
        name.chars()
            .map(|character| {
                if character.is_ascii_alphanumeric() || character == '-' { character } else { '_' }
            })
            .take(MAX_NAME)
            .collect();
    label.contains(|character: char| character != '_').then_some(label)
}

/// Parts as text, with a note in the place of each image, for models that do not see.
pub(crate) fn unseen(parts: &[Part]) -> String {
    let mut all = String::new();
    for (number, part) in parts.iter().enumerate() {
        if number > 0 {
            all.push('\n');
        }
        match part {
            Part::Text { text } => all.push_str(text),
            Part::Image(image) => {
                all.push_str(&format!("[an image that you cannot see: {}]", image.media_type))
            }
        }
    }
    all
}

/// Text with the name of who says it before it, for providers that have no field for names.
pub(crate) fn spoken<'a>(name: Option<&str>, text: Cow<'a, str>) -> Cow<'a, str> {
    match name.map(str::trim).filter(|name| !name.is_empty()) {
        Some(name) => format!("{name}: {text}").into(),
        None => text,
    }
}

/// A tool call out of an answer. Servers leave out ids; one that is made from the call itself is the same each time, as a cache of
/// answers needs it.
pub(crate) fn tool_call(
    number: usize,
    id: Option<String>,
    name: String,
    arguments: String,
) -> ToolCall {
    let id = id.filter(|id| !id.is_empty()).unwrap_or_else(|| {
        let mut hasher = blake3::Hasher::new();
        hasher
            .update(&number.to_le_bytes())
            .update(name.as_bytes())
            .update(&[0])
            .update(arguments.as_bytes());
        format!("call_{}", &hasher.finalize().to_hex()[..16])
    });
    // A tool without parameters is often called with nothing at all.
    let arguments = if arguments.trim().is_empty() { "{}".to_owned() } else { arguments };
    ToolCall { id, name, arguments }
}

/// A tool call's arguments, for providers that take them as an object. What is not one is kept as text.
pub(crate) fn arguments(call: &ToolCall) -> Value {
    match serde_json::from_str(&call.arguments) {
        Ok(object @ Value::Object(_)) => object,
        _ => serde_json::json!({ "arguments": call.arguments }),
    }
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
