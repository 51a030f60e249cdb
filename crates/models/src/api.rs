//! The parts that the clients of all providers share: one function that makes a call, the settings
//! that a request leaves open, and pieces of the JSON of requests and answers.
//!
//! A provider's folder has the shapes of its requests and answers, and nothing else.

use std::{borrow::Cow, fmt};

use base64::{display::Base64Display, prelude::BASE64_STANDARD};
use bytes::Bytes;
use cellblock_agents::{Completion, ModelError, Parameters, Part, TextSink, ToolCall, ToolSpec};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    http::{self, Assemble, Call},
    price::Pricing,
};

/// The maximum length of a speaker's name that providers accept.
const MAX_NAME: usize = 64;

/// Makes a call and returns the completion with its cost.
///
/// `A` is the provider's answer while it is assembled, and `model` the name that was requested.
pub async fn complete<A: Assemble + Default + 'static>(
    call: &Call<'_>,
    model: &str,
    pricing: Pricing<'_>,
    on_text: Option<&TextSink>,
) -> Result<Completion, ModelError> {
    let answer = http::send(call, || Box::new(A::default()), on_text).await?;
    let reported = answer.reported_cost();
    let mut completion = answer.into_completion(model);
    completion.cost = pricing.cost(reported, [model, &completion.model], completion.usage);
    Ok(completion)
}

/// The settings of one request: its own parameters, and the client's where it leaves them open.
pub struct Settings<'a> {
    pub temperature: Option<f64>,
    pub top_p: Option<f64>,
    pub max_tokens: Option<u32>,
    pub stop: &'a [String],
    pub seed: Option<u64>,
    pub extra: Cow<'a, Map<String, Value>>,
}

impl<'a> Settings<'a> {
    /// Merges the parameters of a request with the defaults of its client.
    pub fn merge(requested: &'a Parameters, defaults: &'a Parameters) -> Self {
        let extra = match (requested.extra.is_empty(), defaults.extra.is_empty()) {
            (_, true) => Cow::Borrowed(&requested.extra),
            (true, false) => Cow::Borrowed(&defaults.extra),
            (false, false) => {
                let mut both = defaults.extra.clone();
                both.extend(requested.extra.clone());
                Cow::Owned(both)
            }
        };
        Self {
            temperature: requested.temperature.or(defaults.temperature),
            top_p: requested.top_p.or(defaults.top_p),
            max_tokens: requested.max_tokens.or(defaults.max_tokens),
            stop: if requested.stop.is_empty() { &defaults.stop } else { &requested.stop },
            seed: requested.seed.or(defaults.seed),
            extra,
        }
    }

    /// Refuses extra fields that would replace the model or one of the `reserved` fields.
    pub fn check_extra(&self, provider: &str, reserved: &[&str]) -> Result<(), ModelError> {
        let is_set = |field: &&&str| self.extra.contains_key(**field);
        let Some(field) = reserved.iter().chain(&["model"]).find(is_set) else { return Ok(()) };
        Err(ModelError::Start {
            what: format!(
                "`extra` cannot set `{field}` of a request to {provider}: the client sets it itself"
            ),
            source: None,
        })
    }
}

/// A tool in the form of OpenAI's API and of those that follow it.
#[derive(Serialize)]
pub struct FunctionTool<'a> {
    r#type: &'static str,
    function: &'a ToolSpec,
}

impl<'a> FunctionTool<'a> {
    pub fn new(spec: &'a ToolSpec) -> Self {
        Self { r#type: "function", function: spec }
    }
}

/// Serializes the body of a request.
pub fn to_json(body: &impl Serialize) -> Result<Bytes, ModelError> {
    serde_json::to_vec(body).map(Bytes::from).map_err(|error| ModelError::Start {
        what: "cannot write the request as JSON".to_owned(),
        source: Some(Box::new(error)),
    })
}

/// Bytes that are displayed as base64, without a copy.
pub struct Base64<'a>(pub &'a [u8]);

impl fmt::Display for Base64<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Base64Display::new(self.0, &BASE64_STANDARD).fmt(f)
    }
}

/// Returns a speaker's name as providers allow it: at most 64 letters, digits, `_` and `-`.
/// `None` if no letter, digit or `-` remains.
pub fn allowed_name(name: &str) -> Option<String> {
    let is_allowed = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
    let allowed = |letter: char| if is_allowed(letter) { letter } else { '_' };
    let name: String = name.chars().map(allowed).take(MAX_NAME).collect();
    name.contains(|letter: char| letter != '_').then_some(name)
}

/// Returns parts as text, with a note in place of each image, for models that do not see.
pub fn text_with_image_notes(parts: &[Part]) -> String {
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

/// Puts the name of the speaker before a text, for providers that have no field for names.
pub fn with_speaker<'a>(name: Option<&str>, text: Cow<'a, str>) -> Cow<'a, str> {
    match name.map(str::trim).filter(|name| !name.is_empty()) {
        Some(name) => format!("{name}: {text}").into(),
        None => text,
    }
}

/// Returns a tool call of an answer.
///
/// Some servers leave out ids. The id is then derived from the call, so that it is the same each
/// time, which a cache of answers needs.
pub fn tool_call(number: usize, id: Option<String>, name: String, arguments: String) -> ToolCall {
    let id = id.filter(|id| !id.is_empty()).unwrap_or_else(|| {
        let mut hasher = blake3::Hasher::new();
        hasher
            .update(&number.to_le_bytes())
            .update(name.as_bytes())
            .update(&[0])
            .update(arguments.as_bytes());
        format!("call_{}", &hasher.finalize().to_hex()[..16])
    });
    // A tool without parameters is often called without any arguments.
    let arguments = if arguments.trim().is_empty() { "{}".to_owned() } else { arguments };
    ToolCall { id, name, arguments }
}

/// Returns the arguments of a tool call as an object, for providers that require one. Arguments
/// that are no object are kept as text.
pub fn arguments_object(call: &ToolCall) -> Value {
    match serde_json::from_str(&call.arguments) {
        Ok(object @ Value::Object(_)) => object,
        _ => serde_json::json!({ "arguments": call.arguments }),
    }
}

#[cfg(test)]
mod tests;
