//! Anthropic's answers, whole and as events.

use std::collections::BTreeMap;

use cellblock_agents::{Completion, FinishReason, Usage};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    http::{Assemble, Fault, Flow, Refusal, Say},
    wire::tool_call,
};

/// An answer, as far as it has come.
#[derive(Debug, Default)]
pub(super) struct Answer {
    text: String,
    calls: BTreeMap<u64, Call>,
    finish: Option<String>,
    model: Option<String>,
    tokens: Tokens,
    done: bool,
}

#[derive(Debug, Default)]
struct Call {
    id: String,
    name: String,
    arguments: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Message {
    model: Option<String>,
    content: Option<Vec<Block>>,
    stop_reason: Option<String>,
    usage: Tokens,
    error: Option<Value>,
}

/// A block of an answer. Of blocks that are not known here, such as thoughts, nothing is taken.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block {
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
enum Event {
    MessageStart {
        message: Message,
    },
    ContentBlockStart {
        index: u64,
        content_block: Block,
    },
    ContentBlockDelta {
        index: u64,
        delta: Delta,
    },
    MessageDelta {
        delta: End,
        #[serde(default)]
        usage: Tokens,
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
enum Delta {
    #[serde(rename = "text_delta")]
    Text { text: String },
    #[serde(rename = "input_json_delta")]
    Input { partial_json: String },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct End {
    stop_reason: Option<String>,
}

/// Counts, each of which stands until a later one replaces it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Tokens {
    input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    output_tokens: Option<u64>,
}

impl Tokens {
    fn replace(&mut self, newer: Tokens) {
        self.input_tokens = newer.input_tokens.or(self.input_tokens);
        self.cache_creation_input_tokens =
            newer.cache_creation_input_tokens.or(self.cache_creation_input_tokens);
        self.cache_read_input_tokens =
            newer.cache_read_input_tokens.or(self.cache_read_input_tokens);
        self.output_tokens = newer.output_tokens.or(self.output_tokens);
    }

    /// Input counts leave out what is written to or read from the provider's cache.
    fn usage(&self) -> Usage {
        let read =
            [self.input_tokens, self.cache_creation_input_tokens, self.cache_read_input_tokens];
        Usage {
            prompt_tokens: read.into_iter().flatten().fold(0, u64::saturating_add),
            completion_tokens: self.output_tokens.unwrap_or(0),
        }
    }
}

impl Answer {
    /// The answer to a request to a model of this name, without its cost.
    pub(super) fn completion(self, asked: &str) -> Completion {
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
            model: self.model.unwrap_or_else(|| asked.to_owned()),
            usage: self.tokens.usage(),
            cost: 0.0,
            cached: false,
        }
    }

    fn block(&mut self, index: u64, block: Block, say: &mut Say<'_>) {
        match block {
            Block::Text { text } => self.say(&text, say),
            Block::ToolUse { id, name, input } => {
                // In a stream the input begins as an empty object, and its text follows.
                let empty =
                    input.is_null() || input.as_object().is_some_and(serde_json::Map::is_empty);
                let arguments = if empty { String::new() } else { input.to_string() };
                self.calls.insert(index, Call { id, name, arguments });
            }
            Block::Other => {}
        }
    }

    fn say(&mut self, text: &str, say: &mut Say<'_>) {
        self.text.push_str(text);
        say(text);
    }
}

impl Assemble for Answer {
    fn whole(&mut self, json: &[u8]) -> Result<(), Fault> {
        let message: Message =
            serde_json::from_slice(json).map_err(|error| Fault::json(&error, json))?;
        if let Some(error) = message.error.filter(|error| !error.is_null()) {
            return Err(Fault::Refused(Refusal::from_json(&error)));
        }
        let Some(content) = message.content else {
            return Err(Fault::Malformed("it has no content".to_owned()));
        };
        for (index, block) in (0..).zip(content) {
            self.block(index, block, &mut |_| {});
        }
        self.model = message.model;
        self.finish = message.stop_reason;
        self.tokens = message.usage;
        self.done = true;
        Ok(())
    }

    fn piece(&mut self, json: &str, say: &mut Say<'_>) -> Result<Flow, Fault> {
        match serde_json::from_str(json).map_err(|error| Fault::json(&error, json.as_bytes()))? {
            Event::MessageStart { message } => {
                self.model = message.model;
                self.tokens.replace(message.usage);
            }
            Event::ContentBlockStart { index, content_block } => {
                self.block(index, content_block, say)
            }
            Event::ContentBlockDelta { index, delta } => match delta {
                Delta::Text { text } => self.say(&text, say),
                Delta::Input { partial_json } => {
                    // Pieces of what is not one of our tools are of no use here.
                    if let Some(call) = self.calls.get_mut(&index) {
                        call.arguments.push_str(&partial_json);
                    }
                }
                Delta::Other => {}
            },
            Event::MessageDelta { delta, usage } => {
                self.finish = delta.stop_reason.or(self.finish.take());
                self.tokens.replace(usage);
            }
            Event::MessageStop => {
                self.done = true;
                return Ok(Flow::Done);
            }
            Event::Error { error } => return Err(Fault::Refused(Refusal::from_json(&error))),
            Event::Other => {}
        }
        Ok(Flow::More)
    }

    fn text(&self) -> &str {
        &self.text
    }

    fn end(&mut self) -> Result<(), Fault> {
        if self.done || self.finish.is_some() { Ok(()) } else { Err(Fault::Unfinished) }
    }
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
