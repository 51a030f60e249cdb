//! A model with answers written in advance, for tests and demonstrations.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! use cellblock_agents::{ModelClient as _, ModelRequest, scripted::ScriptedModel};
//!
//! let model = ScriptedModel::new("m", ["Hello.", "TERMINATE"]);
//! assert_eq!(model.complete(&ModelRequest::default(), None).await?.content, "Hello.");
//! assert_eq!(model.requests().len(), 1);
//! # Ok::<(), cellblock_agents::ModelError>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::{collections::VecDeque, fmt, time::Duration};

use async_trait::async_trait;
use parking_lot::Mutex;

use crate::{
    message::ToolCall,
    model::{Completion, FinishReason, ModelClient, ModelError, ModelRequest, TextSink, Usage},
};

/// A model with a script: a list of answers, or a function of the request. It records its requests.
pub struct ScriptedModel {
    name: String,
    script: Script,
    usage: Usage,
    cost: f64,
    delay: Duration,
    sees_images: bool,
    records_requests: bool,
    recorded: Mutex<Recorded>,
}

/// The source of the answers.
enum Script {
    Answers(Mutex<VecDeque<ScriptedAnswer>>),
    Function(Box<dyn Fn(&ModelRequest) -> ScriptedAnswer + Send + Sync>),
}

/// The requests so far.
#[derive(Debug, Default)]
struct Recorded {
    calls: usize,
    requests: Vec<ModelRequest>,
}

/// One answer of a script. A text, a [`Completion`], a list of tool calls and a [`ModelError`]
/// convert into it.
#[derive(Debug)]
#[non_exhaustive]
pub enum ScriptedAnswer {
    /// A text, with the script's model, usage and cost.
    Text(String),
    /// Text and tool calls, with the script's model, usage and cost.
    Calls(String, Vec<ToolCall>),
    /// A complete answer, returned unchanged.
    Whole(Box<Completion>),
    /// A failure.
    Error(Box<ModelError>),
}

impl ScriptedAnswer {
    /// An answer that calls one tool. The id of the call is `call_NAME`.
    pub fn call(tool: impl Into<String>, arguments: impl Into<String>) -> Self {
        let name = tool.into();
        ScriptedAnswer::Calls(
            String::new(),
            vec![ToolCall { id: format!("call_{name}"), name, arguments: arguments.into() }],
        )
    }
}

impl ScriptedModel {
    /// Creates a model that returns these answers in order, then [`ModelError::Unanswered`].
    pub fn new<A: Into<ScriptedAnswer>>(
        name: impl Into<String>,
        answers: impl IntoIterator<Item = A>,
    ) -> Self {
        let answers = answers.into_iter().map(Into::into).collect();
        Self::with_script(name.into(), Script::Answers(Mutex::new(answers)))
    }

    /// Creates a model that computes its answers from the request. Its name is `scripted`; see
    /// [`named`](Self::named).
    pub fn with<A: Into<ScriptedAnswer>>(
        function: impl Fn(&ModelRequest) -> A + Send + Sync + 'static,
    ) -> Self {
        let function = move |request: &ModelRequest| function(request).into();
        Self::with_script("scripted".to_owned(), Script::Function(Box::new(function)))
    }

    fn with_script(name: String, script: Script) -> Self {
        Self {
            name,
            script,
            usage: Usage::default(),
            cost: 0.0,
            delay: Duration::ZERO,
            sees_images: false,
            records_requests: true,
            recorded: Mutex::default(),
        }
    }

    /// Sets the name.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets the tokens that each answer uses. Default: none.
    pub fn usage(mut self, prompt_tokens: u64, completion_tokens: u64) -> Self {
        self.usage = Usage { prompt_tokens, completion_tokens };
        self
    }

    /// Sets the cost of each answer in US dollars. Default: 0.
    pub fn cost(mut self, dollars: f64) -> Self {
        self.cost = dollars;
        self
    }

    /// Sets the time before each answer. Default: none.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Lets requests contain images.
    pub fn seeing_images(mut self) -> Self {
        self.sees_images = true;
        self
    }

    /// Only counts requests instead of recording them, for very long chats.
    pub fn counting_only(mut self) -> Self {
        self.records_requests = false;
        self
    }

    /// The requests so far, in order.
    pub fn requests(&self) -> Vec<ModelRequest> {
        self.recorded.lock().requests.clone()
    }

    /// The number of requests so far.
    pub fn calls(&self) -> usize {
        self.recorded.lock().calls
    }

    /// The number of remaining answers in the list; 0 for a model with a function.
    pub fn remaining(&self) -> usize {
        match &self.script {
            Script::Answers(answers) => answers.lock().len(),
            Script::Function(_) => 0,
        }
    }

    fn next(&self, request: &ModelRequest) -> Result<Completion, ModelError> {
        let calls = {
            let mut recorded = self.recorded.lock();
            recorded.calls += 1;
            if self.records_requests {
                recorded.requests.push(request.clone());
            }
            recorded.calls
        };
        let answer = match &self.script {
            Script::Answers(answers) => answers.lock().pop_front().ok_or_else(|| {
                let given = calls - 1;
                ModelError::Unanswered(format!(
                    "the script of {} ended after {given} answers",
                    self.name
                ))
            })?,
            Script::Function(function) => function(request),
        };
        let completion = |content, tool_calls: Vec<ToolCall>| Completion {
            finish: match tool_calls.is_empty() {
                true => FinishReason::Stop,
                false => FinishReason::ToolCalls,
            },
            tool_calls,
            usage: self.usage,
            cost: self.cost,
            ..Completion::text(&self.name, content)
        };
        match answer {
            ScriptedAnswer::Text(text) => Ok(completion(text, Vec::new())),
            ScriptedAnswer::Calls(text, calls) => Ok(completion(text, calls)),
            ScriptedAnswer::Whole(completion) => Ok(*completion),
            ScriptedAnswer::Error(error) => Err(*error),
        }
    }
}

#[async_trait]
impl ModelClient for ScriptedModel {
    fn name(&self) -> &str {
        &self.name
    }

    fn provider(&self) -> &str {
        "scripted"
    }

    fn sees_images(&self) -> bool {
        self.sees_images
    }

    async fn complete(
        &self,
        request: &ModelRequest,
        on_text: Option<&TextSink>,
    ) -> Result<Completion, ModelError> {
        let answer = self.next(request);
        if !self.delay.is_zero() {
            tokio::time::sleep(self.delay).await;
        }
        let answer = answer?;
        stream_text(&answer.content, on_text);
        Ok(answer)
    }
}

impl fmt::Debug for ScriptedModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptedModel")
            .field("name", &self.name)
            .field("calls", &self.calls())
            .finish_non_exhaustive()
    }
}

impl From<&str> for ScriptedAnswer {
    fn from(text: &str) -> Self {
        ScriptedAnswer::Text(text.to_owned())
    }
}

impl From<String> for ScriptedAnswer {
    fn from(text: String) -> Self {
        ScriptedAnswer::Text(text)
    }
}

impl From<Vec<ToolCall>> for ScriptedAnswer {
    fn from(calls: Vec<ToolCall>) -> Self {
        ScriptedAnswer::Calls(String::new(), calls)
    }
}

impl From<Completion> for ScriptedAnswer {
    fn from(completion: Completion) -> Self {
        ScriptedAnswer::Whole(Box::new(completion))
    }
}

impl From<ModelError> for ScriptedAnswer {
    fn from(error: ModelError) -> Self {
        ScriptedAnswer::Error(Box::new(error))
    }
}

impl<T: Into<ScriptedAnswer>> From<Result<T, ModelError>> for ScriptedAnswer {
    fn from(result: Result<T, ModelError>) -> Self {
        result.map_or_else(Into::into, Into::into)
    }
}

/// Passes a whole text to `on_text` in pieces of a few words, as a model that streams would.
pub fn stream_text(text: &str, on_text: Option<&TextSink>) {
    if let Some(on_text) = on_text {
        pieces(text).for_each(|piece| on_text(piece));
    }
}

/// Splits a text after white space into pieces of a few words. The joined pieces are the text.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    const MIN_BYTES: usize = 12;
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = rest
            .char_indices()
            .find(|(at, letter)| at + letter.len_utf8() >= MIN_BYTES && letter.is_whitespace())
            .map_or(rest.len(), |(at, letter)| at + letter.len_utf8());
        let (piece, after) = rest.split_at(end);
        rest = after;
        Some(piece)
    })
}

#[cfg(test)]
mod tests;
