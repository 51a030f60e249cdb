//! Tools that running code calls: `from host import tools`.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use cellblock_exec::{HostFunction, HostTools};
use serde_json::{Map, Value};

use super::{
    call::{CallRules, make_call, record_of, recorded_arguments},
    contract::{Caller, MAX_ANSWER_BYTES, Tool},
};
use crate::{
    approval::Approval,
    human::Human,
    message::{ToolCall, ToolResult},
    record::PendingCall,
    text::head_and_tail,
};

/// The maximum of calls of one run of code that are recorded one by one: a loop may make millions.
pub const MAX_RECORDED_CALLS: usize = 1000;

/// The tools of an agent for the code that it runs, with the agent's approval. The journal has each
/// call before it is made, and again when it has ended.
#[derive(Debug)]
pub struct ToolsForCode {
    tools: Vec<Arc<dyn Tool>>,
    approval: Approval,
    human: Arc<dyn Human>,
    caller: Caller,
    calls: AtomicUsize,
}

impl ToolsForCode {
    pub fn new(
        tools: Vec<Arc<dyn Tool>>,
        approval: Approval,
        human: Arc<dyn Human>,
        caller: Caller,
    ) -> Self {
        Self { tools, approval, human, caller, calls: AtomicUsize::new(0) }
    }

    /// The number of calls. The first [`MAX_RECORDED_CALLS`] of them are recorded.
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
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
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        let call = ToolCall {
            id: format!("code-{number}"),
            name: name.to_owned(),
            arguments: Value::Object(arguments).to_string(),
        };
        let recorded = match number < MAX_RECORDED_CALLS {
            true => Some(RecordedCall::start(&self.caller, &call)?),
            false => None,
        };
        let rules =
            CallRules { tools: &self.tools, approval: &self.approval, human: self.human.as_ref() };
        let answer = make_call(&call, rules, &self.caller).await;
        if let Some(recorded) = recorded {
            recorded.end(&answer);
        }
        answer
    }
}

/// A call that is recorded. Dropped before its end, it is recorded as cut off: it may have had its
/// effect.
struct RecordedCall<'c> {
    caller: &'c Caller,
    call: &'c ToolCall,
    ended: bool,
}

impl<'c> RecordedCall<'c> {
    fn start(caller: &'c Caller, call: &'c ToolCall) -> Result<Self, String> {
        let pending = PendingCall {
            agent: caller.agent.clone(),
            name: call.name.clone(),
            arguments: recorded_arguments(call),
        };
        // A call that cannot be announced is not made: nobody would know of it.
        caller.context.journal.record_call_start(&pending).map_err(|error| {
            format!("the call was not made: {}", cellblock_exec::with_causes(&error))
        })?;
        Ok(Self { caller, call, ended: false })
    }

    fn end(mut self, answer: &Result<Value, String>) {
        let (content, is_error) = match answer {
            Ok(value) => (value.to_string(), false),
            Err(why) => (why.clone(), true),
        };
        self.record(&content, is_error);
    }

    fn record(&mut self, content: &str, is_error: bool) {
        self.ended = true;
        let result = ToolResult {
            id: self.call.id.clone(),
            name: self.call.name.clone(),
            content: head_and_tail(content, MAX_ANSWER_BYTES).into_owned(),
            is_error,
        };
        let record = record_of(&self.caller.agent, self.call, &result, true);
        // If this fails, the next message cannot be saved either, which ends the chat.
        let _ = self.caller.context.journal.record_tool_calls(vec![record]);
    }
}

impl Drop for RecordedCall<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.record("the code was ended during this call; it may have had its effect", true);
        }
    }
}
