//! The answers of Ollama's API: one line of JSON, or several.

use cellblock_agents::{Completion, FinishReason, Usage};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    api::tool_call,
    http::{AnswerError, Assemble, OnText, Refusal, StreamState},
};

/// An answer while it is assembled.
#[derive(Debug, Default)]
pub struct OllamaAnswer {
    text: String,
    calls: Vec<CalledFunction>,
    finish: Option<String>,
    model: Option<String>,
    usage: Usage,
    is_ended: bool,
}

#[derive(Deserialize)]
struct AnswerLine {
    model: Option<String>,
    message: Option<LineMessage>,
    #[serde(default)]
    done: bool,
    done_reason: Option<String>,
    prompt_eval_count: Option<u64>,
    eval_count: Option<u64>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct LineMessage {
    content: Option<String>,
    tool_calls: Option<Vec<LineCall>>,
}

#[derive(Deserialize)]
struct LineCall {
    function: CalledFunction,
}

#[derive(Debug, Deserialize)]
struct CalledFunction {
    name: String,
    #[serde(default)]
    arguments: Value,
}

impl OllamaAnswer {
    fn add(&mut self, line: AnswerLine, on_text: &mut OnText<'_>) -> Result<(), AnswerError> {
        if let Some(error) = line.error.filter(|error| !error.is_null()) {
            return Err(AnswerError::Refused(Refusal::from_json(&error)));
        }
        self.model = line.model.or(self.model.take());
        self.finish = line.done_reason.or(self.finish.take());
        self.usage.prompt_tokens = line.prompt_eval_count.unwrap_or(self.usage.prompt_tokens);
        self.usage.completion_tokens = line.eval_count.unwrap_or(self.usage.completion_tokens);
        self.is_ended |= line.done;
        let Some(message) = line.message else { return Ok(()) };
        if let Some(text) = message.content {
            self.text.push_str(&text);
            on_text(&text);
        }
        self.calls.extend(message.tool_calls.into_iter().flatten().map(|call| call.function));
        Ok(())
    }
}

impl Assemble for OllamaAnswer {
    fn add_whole(&mut self, json: &[u8]) -> Result<(), AnswerError> {
        let line: AnswerLine =
            serde_json::from_slice(json).map_err(|error| AnswerError::json(&error, json))?;
        if line.message.is_none() && line.error.is_none() {
            return Err(AnswerError::Malformed("it has no message".to_owned()));
        }
        self.add(line, &mut |_| {})?;
        self.is_ended = true;
        Ok(())
    }

    fn add_piece(
        &mut self,
        json: &str,
        on_text: &mut OnText<'_>,
    ) -> Result<StreamState, AnswerError> {
        let line = serde_json::from_str(json)
            .map_err(|error| AnswerError::json(&error, json.as_bytes()))?;
        self.add(line, on_text)?;
        Ok(if self.is_ended { StreamState::Ended } else { StreamState::Open })
    }

    fn text(&self) -> &str {
        &self.text
    }

    fn finish(&mut self) -> Result<(), AnswerError> {
        if self.is_ended { Ok(()) } else { Err(AnswerError::Unfinished) }
    }

    fn into_completion(self: Box<Self>, model: &str) -> Completion {
        let calls = self.calls.into_iter().enumerate();
        let tool_calls: Vec<_> = calls
            .map(|(number, call)| {
                let arguments = match call.arguments {
                    Value::String(text) => text,
                    Value::Null => String::new(),
                    object => object.to_string(),
                };
                tool_call(number, None, call.name, arguments)
            })
            .collect();
        let finish = match self.finish.as_deref() {
            Some("length") => FinishReason::Length,
            _ if !tool_calls.is_empty() => FinishReason::ToolCalls,
            Some("stop") | None => FinishReason::Stop,
            Some(_) => FinishReason::Other,
        };
        Completion {
            content: self.text,
            tool_calls,
            finish,
            model: self.model.unwrap_or_else(|| model.to_owned()),
            usage: self.usage,
            cost: 0.0,
            cached: false,
        }
    }
}

#[cfg(test)]
mod tests;
