//! The answers of Anthropic's API, whole and as events.

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
pub struct AnthropicAnswer {
    text: String,
    calls: BTreeMap<u64, PartialCall>,
    finish: Option<String>,
    model: Option<String>,
    tokens: TokenCounts,
    is_ended: bool,
}

#[derive(Debug, Default)]
struct PartialCall {
    id: String,
    name: String,
    arguments: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct MessageBody {
    model: Option<String>,
    content: Option<Vec<AnswerBlock>>,
    stop_reason: Option<String>,
    usage: TokenCounts,
    error: Option<Value>,
}

/// A block of an answer. Unknown blocks, such as thoughts, are ignored.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum AnswerBlock {
    Text {
        text: String,
    },
    ToolUse {
        id: String,
        name: String,
        #[serde(default)]
        input: Value,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum StreamEvent {
    MessageStart {
        message: MessageBody,
    },
    ContentBlockStart {
        index: u64,
        content_block: AnswerBlock,
    },
    ContentBlockDelta {
        index: u64,
        delta: BlockDelta,
    },
    MessageDelta {
        delta: EndDelta,
        #[serde(default)]
        usage: TokenCounts,
    },
    MessageStop,
    Error {
        error: Value,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
#[serde(tag = "type")]
enum BlockDelta {
    #[serde(rename = "text_delta")]
    Text { text: String },
    #[serde(rename = "input_json_delta")]
    Input { partial_json: String },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct EndDelta {
    stop_reason: Option<String>,
}

/// Counts of tokens. Each one holds until a later one replaces it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct TokenCounts {
    input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    output_tokens: Option<u64>,
}

impl TokenCounts {
    fn update(&mut self, newer: TokenCounts) {
        self.input_tokens = newer.input_tokens.or(self.input_tokens);
        self.cache_creation_input_tokens =
            newer.cache_creation_input_tokens.or(self.cache_creation_input_tokens);
        self.cache_read_input_tokens =
            newer.cache_read_input_tokens.or(self.cache_read_input_tokens);
        self.output_tokens = newer.output_tokens.or(self.output_tokens);
    }

    /// Adds up the tokens: the count of the input omits those that the provider's cache wrote or
    /// read.
    fn usage(&self) -> Usage {
        let read =
            [self.input_tokens, self.cache_creation_input_tokens, self.cache_read_input_tokens];
        Usage {
            prompt_tokens: read.into_iter().flatten().fold(0, u64::saturating_add),
            completion_tokens: self.output_tokens.unwrap_or(0),
        }
    }
}

impl AnthropicAnswer {
    fn add_block(&mut self, index: u64, block: AnswerBlock, on_text: &mut OnText<'_>) {
        match block {
            AnswerBlock::Text { text } => self.add_text(&text, on_text),
            AnswerBlock::ToolUse { id, name, input } => {
                // A stream begins with an empty object, and its text follows.
                let empty =
                    input.is_null() || input.as_object().is_some_and(serde_json::Map::is_empty);
                let arguments = if empty { String::new() } else { input.to_string() };
                self.calls.insert(index, PartialCall { id, name, arguments });
            }
            AnswerBlock::Other => {}
        }
    }

    fn add_text(&mut self, text: &str, on_text: &mut OnText<'_>) {
        self.text.push_str(text);
        on_text(text);
    }
}

impl Assemble for AnthropicAnswer {
    fn add_whole(&mut self, json: &[u8]) -> Result<(), AnswerError> {
        let message: MessageBody =
            serde_json::from_slice(json).map_err(|error| AnswerError::json(&error, json))?;
        if let Some(error) = message.error.filter(|error| !error.is_null()) {
            return Err(AnswerError::Refused(Refusal::from_json(&error)));
        }
        let Some(content) = message.content else {
            return Err(AnswerError::Malformed("it has no content".to_owned()));
        };
        for (index, block) in (0..).zip(content) {
            self.add_block(index, block, &mut |_| {});
        }
        self.model = message.model;
        self.finish = message.stop_reason;
        self.tokens = message.usage;
        self.is_ended = true;
        Ok(())
    }

    fn add_piece(
        &mut self,
        json: &str,
        on_text: &mut OnText<'_>,
    ) -> Result<StreamState, AnswerError> {
        match serde_json::from_str(json)
            .map_err(|error| AnswerError::json(&error, json.as_bytes()))?
        {
            StreamEvent::MessageStart { message } => {
                self.model = message.model;
                self.tokens.update(message.usage);
            }
            StreamEvent::ContentBlockStart { index, content_block } => {
                self.add_block(index, content_block, on_text)
            }
            StreamEvent::ContentBlockDelta { index, delta } => match delta {
                BlockDelta::Text { text } => self.add_text(&text, on_text),
                BlockDelta::Input { partial_json } => {
                    // Other blocks with JSON input are not calls of our tools.
                    if let Some(call) = self.calls.get_mut(&index) {
                        call.arguments.push_str(&partial_json);
                    }
                }
                BlockDelta::Other => {}
            },
            StreamEvent::MessageDelta { delta, usage } => {
                self.finish = delta.stop_reason.or(self.finish.take());
                self.tokens.update(usage);
            }
            StreamEvent::MessageStop => {
                self.is_ended = true;
                return Ok(StreamState::Ended);
            }
            StreamEvent::Error { error } => {
                return Err(AnswerError::Refused(Refusal::from_json(&error)));
            }
            StreamEvent::Other => {}
        }
        Ok(StreamState::Open)
    }

    fn text(&self) -> &str {
        &self.text
    }

    fn finish(&mut self) -> Result<(), AnswerError> {
        if self.is_ended || self.finish.is_some() { Ok(()) } else { Err(AnswerError::Unfinished) }
    }

    fn into_completion(self: Box<Self>, model: &str) -> Completion {
        let calls = self.calls.into_values().enumerate();
        let tool_calls: Vec<_> = calls
            .map(|(number, call)| tool_call(number, Some(call.id), call.name, call.arguments))
            .collect();
        let finish = match self.finish.as_deref() {
            Some("max_tokens" | "model_context_window_exceeded") => FinishReason::Length,
            Some("refusal") => FinishReason::Filtered,
            _ if !tool_calls.is_empty() => FinishReason::ToolCalls,
            Some("end_turn" | "stop_sequence") | None => FinishReason::Stop,
            Some(_) => FinishReason::Other,
        };
        Completion {
            content: self.text,
            tool_calls,
            finish,
            model: self.model.unwrap_or_else(|| model.to_owned()),
            usage: self.tokens.usage(),
            cost: 0.0,
            cached: false,
        }
    }
}

#[cfg(test)]
mod tests;
