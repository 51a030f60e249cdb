//! One call of a tool, from what the model wrote to what it is told.

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures_util::FutureExt as _;
use serde_json::Value;
use tracing::Instrument as _;

use super::{Caller, MAX_ANSWER_BYTES, MAX_ARGUMENT_BYTES, Tool, ToolRecord};
use crate::{
    code::approval::{Approval, Verdict},
    event::Event,
    human::{Human, Proposal},
    message::{ToolCall, ToolResult},
    text,
};

/// What a call goes through: tools that there are, and who has to agree.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call<'c> {
    pub(crate) tools: &'c [Arc<dyn Tool>],
    pub(crate) approval: &'c Approval,
    pub(crate) human: &'c Arc<dyn Human>,
}

impl Call<'_> {
    /// Makes one call. It never fails: what goes wrong is the answer.
    pub(crate) async fn make(&self, call: &ToolCall, caller: &Caller) -> Result<Value, String> {
        let span = tracing::info_span!(
            "execute_tool",
            otel.name = format!("execute_tool {}", call.name),
            gen_ai.operation.name = "execute_tool",
            gen_ai.tool.name = call.name,
            gen_ai.tool.call.id = call.id,
            gen_ai.agent.name = caller.agent,
            error.type = tracing::field::Empty,
        );
        let started = |chat| Event::ToolStarted {
            chat,
            agent: caller.agent.clone(),
            call: call.clone(),
            from_code: caller.from_code,
        };
        caller.context.emit(started);
        let answer = self.checked(call, caller).instrument(span.clone()).await;
        // The error itself may tell what was said, which spans do not.
        if answer.is_err() {
            span.record("error.type", "tool_error");
        }
        let finished = |chat| Event::ToolFinished {
            chat,
            agent: caller.agent.clone(),
            result: told(call, answer.clone()),
        };
        caller.context.emit(finished);
        answer
    }

    async fn checked(&self, call: &ToolCall, caller: &Caller) -> Result<Value, String> {
        if let Some(bytes) = too_large(&call.arguments) {
            return Err(format!(
                "the arguments have {bytes} bytes; a call takes {MAX_ARGUMENT_BYTES} at most."
            ));
        }
        let Some(tool) = self.tools.iter().find(|tool| tool.spec().name == call.name) else {
            return Err(format!("Function {} not found.", call.name));
        };
        // Some models write nothing where there are no arguments.
        let written = if call.arguments.trim().is_empty() { "{}" } else { &call.arguments };
        let arguments: Value = serde_json::from_str(written)
            .map_err(|error| format!("{error}\n The argument must be in JSON format."))?;
        if tool.needs_approval() {
            let proposal = Proposal::Tool {
                agent: caller.agent.clone(),
                call: call.clone(),
                from_code: caller.from_code,
            };
            match self.approval.ask(&proposal, self.human.as_ref()).await {
                Ok(Verdict::Go) => {}
                Ok(Verdict::Edited(_)) => return Err(refusal("")),
                Ok(Verdict::Refused { why }) => return Err(refusal(&why)),
                Ok(Verdict::Corrected { text }) => return Err(text),
                Err(error) => return Err(refusal(&format!("nobody could be asked: {error}"))),
            }
        }
        let timeout = tool.timeout();
        match tokio::time::timeout(
            timeout,
            AssertUnwindSafe(tool.call(arguments, caller)).catch_unwind(),
        )
        .await
        {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(format!("the tool {} broke down", call.name)),
            Err(_) => Err(format!("the tool {} gave no answer within {timeout:?}", call.name)),
        }
    }
}

/// What stands in the place of arguments that are too large, before their length in bytes. It is an object, as providers want
/// arguments to be.
const LEFT_OUT: &str = "{\"bytes_left_out\":";

/// Leaves arguments out that are too large to be called with: they would be saved, shown, and sent with every later request.
pub(crate) fn leave_out_large(call: &mut ToolCall) {
    if call.arguments.len() > MAX_ARGUMENT_BYTES {
        call.arguments = format!("{LEFT_OUT}{}}}", call.arguments.len());
    }
}

/// How large arguments are, or were, if that is too large.
fn too_large(arguments: &str) -> Option<usize> {
    let left_out = || arguments.strip_prefix(LEFT_OUT)?.strip_suffix('}')?.parse().ok();
    let bytes = left_out().unwrap_or(arguments.len());
    (bytes > MAX_ARGUMENT_BYTES).then_some(bytes)
}

fn refusal(why: &str) -> String {
    if why.is_empty() {
        "the call was refused".to_owned()
    } else {
        format!("the call was refused: {why}")
    }
}

/// Makes all calls of a message at once, and gives the results in their order.
pub(crate) async fn answer_all(
    calls: &[ToolCall],
    with: Call<'_>,
    caller: &Caller,
) -> Vec<ToolResult> {
    let all = calls.iter().map(|call| async move { told(call, with.make(call, caller).await) });
    futures_util::future::join_all(all).await
}

/// What the model is told.
fn told(call: &ToolCall, answer: Result<Value, String>) -> ToolResult {
    let is_error = answer.is_err();
    let content = match answer {
        Ok(Value::String(text)) => text,
        Ok(value) => value.to_string(),
        Err(why) => format!("Error: {why}"),
    };
    let content = text::head_and_tail(&content, MAX_ANSWER_BYTES).into_owned();
    ToolResult { id: call.id.clone(), name: call.name.clone(), content, is_error }
}

/// What is kept of a call that was made.
pub(crate) fn record(
    agent: &str,
    call: &ToolCall,
    result: &ToolResult,
    from_code: bool,
) -> ToolRecord {
    ToolRecord {
        agent: agent.to_owned(),
        name: call.name.clone(),
        arguments: arguments_kept(call),
        answer: result.content.clone(),
        is_error: result.is_error,
        from_code,
    }
}

/// What is kept of a call's arguments.
pub(crate) fn arguments_kept(call: &ToolCall) -> String {
    text::head_and_tail(&call.arguments, MAX_ANSWER_BYTES).into_owned()
}
