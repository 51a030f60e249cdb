//! Ollama's answers: lines of JSON, or one.

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
    calls: Vec<Function>,
    finish: Option<String>,
    model: Option<String>,
    usage: Usage,
    done: bool,
}

#[derive(Deserialize)]
struct Line {
    model: Option<String>,
    message: Option<Message>,
    #[serde(default)]
    done: bool,
    done_reason: Option<String>,
    prompt_eval_count: Option<u64>,
    eval_count: Option<u64>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Message {
    content: Option<String>,
    tool_calls: Option<Vec<Called>>,
}

#[derive(Deserialize)]
struct Called {
    function: Function,
}

#[derive(Debug, Deserialize)]
struct Function {
    name: String,
    #[serde(default)]
    arguments: Value,
}

impl Answer {
    /// The answer to a request to a model of this name, without its cost.
    pub(super) fn completion(self, asked: &str) -> Completion {
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
            model: self.model.unwrap_or_else(|| asked.to_owned()),
            usage: self.usage,
            cost: 0.0,
            cached: false,
        }
    }

    fn take(&mut self, line: Line, say: &mut Say<'_>) -> Result<(), Fault> {
        if let Some(error) = line.error.filter(|error| !error.is_null()) {
            return Err(Fault::Refused(Refusal::from_json(&error)));
        }
        self.model = line.model.or(self.model.take());
        self.finish = line.done_reason.or(self.finish.take());
        self.usage.prompt_tokens = line.prompt_eval_count.unwrap_or(self.usage.prompt_tokens);
        self.usage.completion_tokens = line.eval_count.unwrap_or(self.usage.completion_tokens);
        self.done |= line.done;
        let Some(message) = line.message else { return Ok(()) };
        if let Some(text) = message.content {
            self.text.push_str(&text);
            say(&text);
        }
        self.calls.extend(message.tool_calls.into_iter().flatten().map(|called| called.function));
        Ok(())
    }
}

impl Assemble for Answer {
    fn whole(&mut self, json: &[u8]) -> Result<(), Fault> {
        let line: Line = serde_json::from_slice(json).map_err(|error| Fault::json(&error, json))?;
        if line.message.is_none() && line.error.is_none() {
            return Err(Fault::Malformed("it has no message".to_owned()));
        }
        self.take(line, &mut |_| {})?;
        self.done = true;
        Ok(())
    }

    fn piece(&mut self, json: &str, say: &mut Say<'_>) -> Result<Flow, Fault> {
        let line =
            serde_json::from_str(json).map_err(|error| Fault::json(&error, json.as_bytes()))?;
        self.take(line, say)?;
        Ok(if self.done { Flow::Done } else { Flow::More })
    }

    fn text(&self) -> &str {
        &self.text
    }

    fn end(&mut self) -> Result<(), Fault> {
        if self.done { Ok(()) } else { Err(Fault::Unfinished) }
    }
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
