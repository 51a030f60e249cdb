//! Answers of chat completions, whole and in pieces.

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
    /// Tool calls by their number; servers need not send them in order.
    calls: BTreeMap<u64, Call>,
    finish: Option<String>,
    refused: bool,
    model: Option<String>,
    usage: Option<Tokens>,
    /// Whether the server said that it has ended.
    done: bool,
}

#[derive(Debug, Default)]
struct Call {
    id: Option<String>,
    name: String,
    arguments: String,
}

/// A whole answer or a piece of one: they differ in where a choice has what was said.
#[derive(Deserialize)]
struct Body {
    model: Option<String>,
    choices: Option<Vec<Choice>>,
    usage: Option<Tokens>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Choice {
    message: Option<Said>,
    delta: Option<Said>,
    finish_reason: Option<String>,
}

#[derive(Default, Deserialize)]
struct Said {
    content: Option<Words>,
    refusal: Option<String>,
    tool_calls: Option<Vec<Called>>,
}

/// Text, or a list of parts of which some are text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Words {
    Text(String),
    Parts(Vec<Word>),
}

#[derive(Deserialize)]
struct Word {
    #[serde(default)]
    text: String,
}

#[derive(Deserialize)]
struct Called {
    index: Option<u64>,
    id: Option<String>,
    function: Option<Function>,
}

#[derive(Deserialize)]
struct Function {
    name: Option<String>,
    arguments: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Tokens {
    #[serde(default)]
    prompt_tokens: Option<u64>,
    #[serde(default)]
    completion_tokens: Option<u64>,
    /// What it cost in US dollars, which some routers say.
    #[serde(default)]
    cost: Option<f64>,
}

impl Answer {
    /// What the server says that it cost, in US dollars.
    pub(super) fn cost(&self) -> Option<f64> {
        self.usage.as_ref()?.cost.filter(|cost| cost.is_finite() && *cost >= 0.0)
    }

    /// The answer to a request to a model of this name, without its cost.
    pub(super) fn completion(self, asked: &str) -> Completion {
        let calls = self.calls.into_values().enumerate();
        let tool_calls: Vec<_> = calls
            .map(|(number, call)| tool_call(number, call.id, call.name, call.arguments))
            .collect();
        let finish = match self.finish.as_deref() {
            _ if self.refused => FinishReason::Filtered,
            Some("length") => FinishReason::Length,
            Some("content_filter") => FinishReason::Filtered,
            // Some servers say `stop` beside tool calls.
            _ if !tool_calls.is_empty() => FinishReason::ToolCalls,
            Some("stop" | "eos") | None => FinishReason::Stop,
            Some(_) => FinishReason::Other,
        };
        let tokens = self.usage.as_ref();
        Completion {
            content: self.text,
            tool_calls,
            finish,
            model: self.model.unwrap_or_else(|| asked.to_owned()),
            usage: Usage {
                prompt_tokens: tokens.and_then(|tokens| tokens.prompt_tokens).unwrap_or(0),
                completion_tokens: tokens.and_then(|tokens| tokens.completion_tokens).unwrap_or(0),
            },
            cost: 0.0,
            cached: false,
        }
    }

    fn take(&mut self, body: Body, piece: bool, say: &mut Say<'_>) -> Result<(), Fault> {
        if let Some(error) = body.error.filter(|error| !error.is_null()) {
            return Err(Fault::Refused(Refusal::from_json(&error)));
        }
        self.usage = body.usage.or(self.usage.take());
        self.model = body.model.filter(|model| !model.is_empty()).or(self.model.take());
        // The first of several choices is the answer.
        let Some(choice) = body.choices.and_then(|choices| choices.into_iter().next()) else {
            return Ok(());
        };
        self.finish =
            choice.finish_reason.filter(|finish| !finish.is_empty()).or(self.finish.take());
        // Some servers send both: beside each piece what was said so far, or beside the whole an empty piece.
        let said =
            if piece { choice.delta.or(choice.message) } else { choice.message.or(choice.delta) };
        let said = said.unwrap_or_default();
        match said.content {
            Some(Words::Text(text)) => self.say(&text, say),
            Some(Words::Parts(parts)) => parts.iter().for_each(|part| self.say(&part.text, say)),
            None => {}
        }
        if let Some(refusal) = said.refusal.filter(|refusal| !refusal.is_empty()) {
            self.refused = true;
            self.say(&refusal, say);
        }
        said.tool_calls.into_iter().flatten().for_each(|called| self.call(called));
        Ok(())
    }

    fn say(&mut self, text: &str, say: &mut Say<'_>) {
        self.text.push_str(text);
        say(text);
    }

    /// Takes a tool call, or a piece of one: the number says of which; without a number, a name begins a new one.
    fn call(&mut self, called: Called) {
        let function = called.function.unwrap_or(Function { name: None, arguments: None });
        let last = self.calls.last_key_value().map(|(number, _)| *number);
        let next = last.map_or(0, |last| last.saturating_add(1));
        let begins = function.name.as_deref().is_some_and(|name| !name.is_empty());
        let number = called.index.unwrap_or_else(|| if begins { next } else { last.unwrap_or(0) });
        let call = self.calls.entry(number).or_default();
        call.id = call.id.take().or(called.id);
        // A name comes once; servers that repeat it in each piece mean the same one.
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

impl Assemble for Answer {
    fn whole(&mut self, json: &[u8]) -> Result<(), Fault> {
        let body: Body = serde_json::from_slice(json).map_err(|error| Fault::json(&error, json))?;
        if body.error.as_ref().is_none_or(Value::is_null)
            && body.choices.as_ref().is_none_or(Vec::is_empty)
        {
            return Err(Fault::Malformed("it has no choices".to_owned()));
        }
        self.done = true;
        self.take(body, false, &mut |_| {})
    }

    fn piece(&mut self, json: &str, say: &mut Say<'_>) -> Result<Flow, Fault> {
        if json.trim() == "[DONE]" {
            self.done = true;
            return Ok(Flow::Done);
        }
        let body =
            serde_json::from_str(json).map_err(|error| Fault::json(&error, json.as_bytes()))?;
        self.take(body, true, say)?;
        Ok(Flow::More)
    }

    fn text(&self) -> &str {
        &self.text
    }

    fn end(&mut self) -> Result<(), Fault> {
        // Not all servers send `[DONE]`, but all say why they finished.
        if !self.done && self.finish.is_none() {
            return Err(Fault::Unfinished);
        }
        match self.calls.values().find(|call| call.name.is_empty()) {
            Some(_) => Err(Fault::Malformed("it calls a tool without a name".to_owned())),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
