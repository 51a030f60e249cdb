//! Tools that running code calls: `from host import tools`.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use cellblock_exec::{HostFunction, HostTools};
use serde_json::{Map, Value};

use super::{Call, Caller, Tool, call};
use crate::{
    chat::Calling,
    code::approval::Approval,
    human::Human,
    message::{ToolCall, ToolResult},
};

/// The tools of an agent for the code that it runs, with the same approval. Each call is in the chat's journal before it is
/// made, and again when it is over.
#[derive(Debug)]
pub(crate) struct ToolsForCode {
    tools: Vec<Arc<dyn Tool>>,
    approval: Approval,
    human: Arc<dyn Human>,
    caller: Caller,
    number: AtomicUsize,
}

/// The most calls of one run of code that are recorded one by one; a loop may make millions.
pub(crate) const MOST_RECORDS: usize = 1000;

impl ToolsForCode {
    pub(crate) fn new(
        tools: Vec<Arc<dyn Tool>>,
        approval: Approval,
        human: Arc<dyn Human>,
        caller: Caller,
    ) -> Self {
        Self { tools, approval, human, caller, number: AtomicUsize::new(0) }
    }

    /// How many calls were made; the first [`MOST_RECORDS`] of them are recorded.
    pub(crate) fn calls(&self) -> usize {
        self.number.load(Ordering::Relaxed)
    }
}

/// A call that is recorded. Dropped before it is over, it is recorded as cut off: it may have had its effect.
struct Recorded<'t> {
    tools: &'t ToolsForCode,
    call: &'t ToolCall,
    over: bool,
}

impl<'t> Recorded<'t> {
    fn begin(tools: &'t ToolsForCode, call: &'t ToolCall) -> Result<Self, String> {
        let (agent, name) = (tools.caller.agent.clone(), call.name.clone());
        let calling = Calling { agent, name, arguments: call::arguments_kept(call) };
        let saved = tools.caller.context.journal.calling(&calling);
        // What cannot be announced is not done: nobody would know of it.
        saved.map_err(|error| {
            format!("the call was not made: {}", cellblock_exec::with_causes(&error))
        })?;
        Ok(Self { tools, call, over: false })
    }

    fn end(mut self, answer: &Result<Value, String>) {
        let (content, is_error) = match answer {
            Ok(value) => (value.to_string(), false),
            Err(why) => (why.clone(), true),
        };
        self.record(&content, is_error);
    }

    fn record(&mut self, content: &str, is_error: bool) {
        self.over = true;
        let content = crate::text::head_and_tail(content, super::MAX_ANSWER_BYTES).into_owned();
        let result = ToolResult {
            id: self.call.id.clone(),
            name: self.call.name.clone(),
            content,
            is_error,
        };
        let caller = &self.tools.caller;
        // What cannot be written now cannot be written with the next message either, which then ends the chat.
        let _ = caller.context.journal.called(vec![call::record(
            &caller.agent,
            self.call,
            &result,
            true,
        )]);
    }
}

impl Drop for Recorded<'_> {
    fn drop(&mut self) {
        if !self.over {
            self.record("the code was ended during this call; it may have had its effect", true);
        }
    }
}

#[async_trait]
impl HostTools for ToolsForCode {
    fn functions(&self) -> Vec<HostFunction> {
        let specs = self.tools.iter().map(|tool| tool.spec().clone());
        specs
            .map(|spec| HostFunction {
                name: spec.name,
                description: spec.description,
                parameters: spec.parameters,
            })
            .collect()
    }

    async fn call(&self, name: &str, arguments: Map<String, Value>) -> Result<Value, String> {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let call = ToolCall {
            id: format!("code-{number}"),
            name: name.to_owned(),
            arguments: Value::Object(arguments).to_string(),
        };
        let recorded = match number < MOST_RECORDS {
            true => Some(Recorded::begin(self, &call)?),
            false => None,
        };
        let with = Call { tools: &self.tools, approval: &self.approval, human: &self.human };
        let answer = with.make(&call, &self.caller).await;
        if let Some(recorded) = recorded {
            recorded.end(&answer);
        }
        answer
    }
}
