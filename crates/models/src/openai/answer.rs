//! The answers of chat completions, whole and in pieces.

use std::collections::BTreeMap;

use cellblock_agents::{Completion, FinishReason, Usage};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    api::tool_call,
    http::{AnswerError, Assemble, OnText, Refusal, StreamState},
};

/// An answer while it is assembled.
#[derive(Debug, Default)]
pub struct OpenAiAnswer {
    text: String,
    /// Tool calls by their number: servers may send them out of order.
    calls: BTreeMap<u64, PartialCall>,
    finish: Option<String>,
    is_refusal: bool,
    model: Option<String>,
    usage: Option<TokenCounts>,
    /// True if the server announced the end.
    is_ended: bool,
}

#[derive(Debug, Default)]
struct PartialCall {
    id: Option<String>,
    name: String,
    arguments: String,
}

/// A whole answer or a piece of one; a choice has a `message` or a `delta` accordingly.
#[derive(Deserialize)]
struct ResponseBody {
    model: Option<String>,
    choices: Option<Vec<Choice>>,
    usage: Option<TokenCounts>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Choice {
    message: Option<ChoiceMessage>,
    delta: Option<ChoiceMessage>,
    finish_reason: Option<String>,
}

#[derive(Default, Deserialize)]
struct ChoiceMessage {
    content: Option<MessageText>,
    refusal: Option<String>,
    tool_calls: Option<Vec<CallPiece>>,
}

/// Text, or a list of parts, some of them text.
#[derive(Deserialize)]
#[serde(untagged)]
enum MessageText {
    Text(String),
    Parts(Vec<TextPart>),
}

#[derive(Deserialize)]
struct TextPart {
    #[serde(default)]
    text: String,
}

#[derive(Deserialize)]
struct CallPiece {
    index: Option<u64>,
    id: Option<String>,
    function: Option<FunctionPiece>,
}

#[derive(Deserialize)]
struct FunctionPiece {
    name: Option<String>,
    arguments: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct TokenCounts {
    #[serde(default)]
    prompt_tokens: Option<u64>,
    #[serde(default)]
    completion_tokens: Option<u64>,
    /// The cost in US dollars, which some routers report.
    #[serde(default)]
    cost: Option<f64>,
}

impl OpenAiAnswer {
    fn add(
        &mut self,
        body: ResponseBody,
        is_piece: bool,
        on_text: &mut OnText<'_>,
    ) -> Result<(), AnswerError> {
        if let Some(error) = body.error.filter(|error| !error.is_null()) {
            return Err(AnswerError::Refused(Refusal::from_json(&error)));
        }
        self.usage = body.usage.or(self.usage.take());
        self.model = body.model.filter(|model| !model.is_empty()).or(self.model.take());
        // The first of several choices is the answer.
        let Some(choice) = body.choices.and_then(|choices| choices.into_iter().next()) else {
            return Ok(());
        };
        self.finish =
            choice.finish_reason.filter(|finish| !finish.is_empty()).or(self.finish.take());
        // Some servers send both: the text so far beside each piece, or an empty piece beside the
        // whole.
        let message = if is_piece {
            choice.delta.or(choice.message)
        } else {
            choice.message.or(choice.delta)
        };
        let message = message.unwrap_or_default();
        match message.content {
            Some(MessageText::Text(text)) => self.add_text(&text, on_text),
            Some(MessageText::Parts(parts)) => {
                parts.iter().for_each(|part| self.add_text(&part.text, on_text))
            }
            None => {}
        }
        if let Some(refusal) = message.refusal.filter(|refusal| !refusal.is_empty()) {
            self.is_refusal = true;
            self.add_text(&refusal, on_text);
        }
        message.tool_calls.into_iter().flatten().for_each(|piece| self.add_call(piece));
        Ok(())
    }

    fn add_text(&mut self, text: &str, on_text: &mut OnText<'_>) {
        self.text.push_str(text);
        on_text(text);
    }

    /// Adds a tool call or a piece of one. Its number tells which; without a number, a name begins
    /// a new call.
    fn add_call(&mut self, piece: CallPiece) {
        let function = piece.function.unwrap_or(FunctionPiece { name: None, arguments: None });
        let last = self.calls.last_key_value().map(|(number, _)| *number);
        let next = last.map_or(0, |last| last.saturating_add(1));
        let is_new = function.name.as_deref().is_some_and(|name| !name.is_empty());
        let number = piece.index.unwrap_or_else(|| if is_new { next } else { last.unwrap_or(0) });
        let call = self.calls.entry(number).or_default();
        call.id = call.id.take().or(piece.id);
        // Some servers repeat the name in each piece.
        if call.name.is_empty() {
            call.name = function.name.unwrap_or_default();
        }
        match function.arguments {
            Some(Value::String(text)) => call.arguments.push_str(&text),
            Some(Value::Null) | None => {}
            Some(object) => call.arguments = object.to_string(),
        }
    }
}

impl Assemble for OpenAiAnswer {
    fn add_whole(&mut self, json: &[u8]) -> Result<(), AnswerError> {
        let body: ResponseBody =
            serde_json::from_slice(json).map_err(|error| AnswerError::json(&error, json))?;
        if body.error.as_ref().is_none_or(Value::is_null)
            && body.choices.as_ref().is_none_or(Vec::is_empty)
        {
            return Err(AnswerError::Malformed("it has no choices".to_owned()));
        }
        self.is_ended = true;
        self.add(body, false, &mut |_| {})
    }

    fn add_piece(
        &mut self,
        json: &str,
        on_text: &mut OnText<'_>,
    ) -> Result<StreamState, AnswerError> {
        if json.trim() == "[DONE]" {
            self.is_ended = true;
            return Ok(StreamState::Ended);
        }
        let body = serde_json::from_str(json)
            .map_err(|error| AnswerError::json(&error, json.as_bytes()))?;
        self.add(body, true, on_text)?;
        Ok(StreamState::Open)
    }

    fn text(&self) -> &str {
        &self.text
    }

    fn finish(&mut self) -> Result<(), AnswerError> {
        // Not all servers send `[DONE]`, but all send the reason why they finished.
        if !self.is_ended && self.finish.is_none() {
            return Err(AnswerError::Unfinished);
        }
        match self.calls.values().find(|call| call.name.is_empty()) {
            Some(_) => Err(AnswerError::Malformed("it calls a tool without a name".to_owned())),
            None => Ok(()),
        }
    }

    fn reported_cost(&self) -> Option<f64> {
        self.usage.as_ref()?.cost.filter(|cost| cost.is_finite() && *cost >= 0.0)
    }

    fn into_completion(self: Box<Self>, model: &str) -> Completion {
        let calls = self.calls.into_values().enumerate();
        let tool_calls: Vec<_> = calls
            .map(|(number, call)| tool_call(number, call.id, call.name, call.arguments))
            .collect();
        let finish = match self.finish.as_deref() {
            _ if self.is_refusal => FinishReason::Filtered,
            Some("length") => FinishReason::Length,
            Some("content_filter") => FinishReason::Filtered,
            // Some servers send `stop` beside tool calls.
            _ if !tool_calls.is_empty() => FinishReason::ToolCalls,
            Some("stop" | "eos") | None => FinishReason::Stop,
            Some(_) => FinishReason::Other,
        };
        let tokens = self.usage.as_ref();
        Completion {
            content: self.text,
            tool_calls,
            finish,
            model: self.model.unwrap_or_else(|| model.to_owned()),
            usage: Usage {
                prompt_tokens: tokens.and_then(|tokens| tokens.prompt_tokens).unwrap_or(0),
                completion_tokens: tokens.and_then(|tokens| tokens.completion_tokens).unwrap_or(0),
            },
            cost: 0.0,
            cached: false,
        }
    }
}

#[cfg(test)]
mod tests;
