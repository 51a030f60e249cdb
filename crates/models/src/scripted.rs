//! A model that says what a test, or an example, wants it to say.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! use cellblock_agents::{ModelClient as _, ModelRequest};
//! use cellblock_models::Scripted;
//!
//! let model = Scripted::new("m", ["Hello.", "TERMINATE"]);
//! assert_eq!(model.complete(&ModelRequest::default(), None).await?.content, "Hello.");
//! assert_eq!(model.requests().len(), 1);
//! # Ok::<(), cellblock_agents::ModelError>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::{collections::VecDeque, fmt, sync::Mutex, time::Duration};

use async_trait::async_trait;
use cellblock_agents::{
    Completion, Finish, ModelClient, ModelError, ModelRequest, TextSink, ToolCall, Usage,
};

use crate::{Cacheable, lock::locked, pieces};

/// A model with a script: answers in order, or a function of the request. It remembers what it was asked.
pub struct Scripted {
    name: String,
    source: Source,
    usage: Usage,
    cost: f64,
    delay: Duration,
    sees_images: bool,
    remembers: bool,
    asked: Mutex<Asked>,
}

/// Where its answers come from.
enum Source {
    Answers(Mutex<VecDeque<Answer>>),
    Function(Box<dyn Fn(&ModelRequest) -> Answer + Send + Sync>),
}

/// What it was asked.
#[derive(Debug, Default)]
struct Asked {
    calls: usize,
    requests: Vec<ModelRequest>,
}

/// One answer of a script. It can be made from a text, from a whole [`Completion`], from a list of tool calls and from an
/// error.
#[derive(Debug)]
#[non_exhaustive]
pub enum Answer {
    /// A text. The script's model, usage and cost are put to it.
    Text(String),
    /// Text and tool calls. The script's model, usage and cost are put to it.
    Calls(String, Vec<ToolCall>),
    /// An answer as it is.
    Whole(Box<Completion>),
    /// A failure.
    Error(Box<ModelError>),
}

impl Answer {
    /// An answer that calls one tool. The call's id is made from the tool's name: `call_NAME`.
    pub fn call(tool: impl Into<String>, arguments: impl Into<String>) -> Self {
        let name = tool.into();
        Answer::Calls(
            String::new(),
            vec![ToolCall { id: format!("call_{name}"), name, arguments: arguments.into() }],
        )
    }
}

impl Scripted {
    /// A model that gives these answers in order, and then [`ModelError::Unanswered`].
    pub fn new<A: Into<Answer>>(
        name: impl Into<String>,
        answers: impl IntoIterator<Item = A>,
    ) -> Self {
        let answers = answers.into_iter().map(Into::into).collect();
        Self::make(name.into(), Source::Answers(Mutex::new(answers)))
    }

    /// A model whose answers are computed from the request. Its name is `scripted`; see [`named`](Self::named).
    pub fn with<A: Into<Answer>>(
        function: impl Fn(&ModelRequest) -> A + Send + Sync + 'static,
    ) -> Self {
        Self::make(
            "scripted".to_owned(),
            Source::Function(Box::new(move |request| function(request).into())),
        )
    }

    fn make(name: String, source: Source) -> Self {
        Self {
            name,
            source,
            usage: Usage::default(),
            cost: 0.0,
            delay: Duration::ZERO,
            sees_images: false,
            remembers: true,
            asked: Mutex::default(),
        }
    }

    /// Another name.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// What each answer uses, in tokens. Default: nothing.
    pub fn usage(mut self, prompt_tokens: u64, completion_tokens: u64) -> Self {
        self.usage = Usage { prompt_tokens, completion_tokens };
        self
    }

    /// What each answer costs, in US dollars. Default: 0.
    pub fn cost(mut self, dollars: f64) -> Self {
        self.cost = dollars;
        self
    }

    /// How long it thinks before it answers. Default: not at all.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Lets images be sent to it.
    pub fn seeing_images(mut self) -> Self {
        self.sees_images = true;
        self
    }

    /// Does not keep the requests, for very long chats; they are only counted.
    pub fn forgetting(mut self) -> Self {
        self.remembers = false;
        self
    }

    /// What it was asked, in order.
    pub fn requests(&self) -> Vec<ModelRequest> {
        locked(&self.asked).requests.clone()
    }

    /// How often it was asked.
    pub fn calls(&self) -> usize {
        locked(&self.asked).calls
    }

    /// How many answers of its list are left; 0 for one with a function.
    pub fn left(&self) -> usize {
        match &self.source {
            Source::Answers(answers) => locked(answers).len(),
            Source::Function(_) => 0,
        }
    }

    /// The next answer.
    fn next(&self, request: &ModelRequest) -> Result<Completion, ModelError> {
        let calls = {
            let mut asked = locked(&self.asked);
            asked.calls += 1;
            if self.remembers {
                asked.requests.push(request.clone());
            }
            asked.calls
        };
        let answer = match &self.source {
            Source::Answers(answers) => locked(answers).pop_front().ok_or_else(|| {
                let given = calls - 1;
                ModelError::Unanswered(format!(
                    "the script of {} ended after {given} answers",
                    self.name
                ))
            })?,
            Source::Function(function) => function(request),
        };
        let completion = |content, tool_calls: Vec<ToolCall>| Completion {
            finish: if tool_calls.is_empty() { Finish::Stop } else { Finish::ToolCalls },
            tool_calls,
            usage: self.usage,
            cost: self.cost,
            ..Completion::text(&self.name, content)
        };
        match answer {
            Answer::Text(text) => Ok(completion(text, Vec::new())),
            Answer::Calls(text, calls) => Ok(completion(text, calls)),
            Answer::Whole(completion) => Ok(*completion),
            Answer::Error(error) => Err(*error),
        }
    }
}

/// The script decides, and is not to be seen from outside: scripts of one name are one model to a cache.
impl Cacheable for Scripted {
    fn scope(&self) -> String {
        String::new()
    }
}

#[async_trait]
impl ModelClient for Scripted {
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
        pieces::give(&answer.content, on_text);
        Ok(answer)
    }
}

impl fmt::Debug for Scripted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scripted")
            .field("name", &self.name)
            .field("calls", &self.calls())
            .finish_non_exhaustive()
    }
}

impl From<&str> for Answer {
    fn from(text: &str) -> Self {
        Answer::Text(text.to_owned())
    }
}

impl From<String> for Answer {
    fn from(text: String) -> Self {
        Answer::Text(text)
    }
}

impl From<Vec<ToolCall>> for Answer {
    fn from(calls: Vec<ToolCall>) -> Self {
        Answer::Calls(String::new(), calls)
    }
}

impl From<Completion> for Answer {
    fn from(completion: Completion) -> Self {
        Answer::Whole(Box::new(completion))
    }
}

impl From<ModelError> for Answer {
    fn from(error: ModelError) -> Self {
        Answer::Error(Box::new(error))
    }
}

impl<T: Into<Answer>> From<Result<T, ModelError>> for Answer {
    fn from(result: Result<T, ModelError>) -> Self {
        result.map_or_else(Into::into, Into::into)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cellblock_agents::ModelMessage;

    use super::*;

    #[tokio::test]
    async fn answers_come_in_order_and_end() {
        let model = Scripted::new("m", ["one", "two"]).usage(3, 4).cost(0.5);
        let request = ModelRequest { system: "s".to_owned(), ..ModelRequest::default() };
        let first = model.complete(&request, None).await.unwrap();
        assert_eq!(
            (first.content.as_str(), first.usage.prompt_tokens, first.cost),
            ("one", 3, 0.5)
        );
        assert_eq!(model.left(), 1);
        assert_eq!(model.complete(&request, None).await.unwrap().content, "two");
        let error = model.complete(&request, None).await.unwrap_err();
        assert_eq!(error.to_string(), "the script of m ended after 2 answers");
        assert_eq!(model.requests(), vec![request; 3]);
    }

    #[tokio::test]
    async fn a_function_sees_the_request_and_may_fail() {
        let model = Scripted::with(|request| match request.messages.first() {
            Some(ModelMessage::User { content, .. }) => Ok(content.text().to_uppercase()),
            _ => Err(ModelError::Unanswered("nothing was said".to_owned())),
        })
        .named("loud");
        let messages = vec![ModelMessage::User { name: None, content: "hi".into() }];
        let answer = model
            .complete(&ModelRequest { messages, ..ModelRequest::default() }, None)
            .await
            .unwrap();
        assert_eq!((answer.content.as_str(), answer.model.as_str()), ("HI", "loud"));
        assert!(model.complete(&ModelRequest::default(), None).await.is_err());
    }

    #[tokio::test]
    async fn tool_calls_and_streaming() {
        let answers = [Answer::call("add", r#"{"a":1}"#), "the sum is one, which is little".into()];
        let model = Scripted::new("m", answers).forgetting();
        let call = model.complete(&ModelRequest::default(), None).await.unwrap();
        assert_eq!((call.finish, call.tool_calls[0].name.as_str()), (Finish::ToolCalls, "add"));
        let heard = Arc::new(Mutex::new(Vec::new()));
        let sink: TextSink = {
            let heard = heard.clone();
            Arc::new(move |text: &str| heard.lock().unwrap().push(text.to_owned()))
        };
        let answer = model.complete(&ModelRequest::default(), Some(&sink)).await.unwrap();
        let heard = heard.lock().unwrap();
        assert!(heard.len() > 1, "{heard:?}");
        assert_eq!(heard.concat(), answer.content);
        assert_eq!((model.calls(), model.requests().len()), (2, 0));
    }
}
