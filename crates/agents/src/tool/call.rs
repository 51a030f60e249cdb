//! One call of a tool, from the text of the model to the answer. Decisions that cost trust are made
//! here: the size of the arguments, approval, and the timeout.

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures_util::FutureExt as _;
use serde_json::Value;
use tracing::Instrument as _;

use super::contract::{Caller, MAX_ANSWER_BYTES, MAX_ARGUMENT_BYTES, Tool};
use crate::{
    approval::{Approval, Verdict},
    event::Event,
    human::{Human, Proposal},
    message::{ToolCall, ToolResult},
    record::ToolRecord,
    text::head_and_tail,
};

/// The tools that a call can reach, and the one who has to agree.
#[derive(Debug, Clone, Copy)]
pub struct CallRules<'c> {
    pub tools: &'c [Arc<dyn Tool>],
    pub approval: &'c Approval,
    /// The person behind the agent.
    pub human: &'c dyn Human,
}

/// Makes one call. A failure is its answer.
pub async fn make_call(
    call: &ToolCall,
    rules: CallRules<'_>,
    caller: &Caller,
) -> Result<Value, String> {
    let span = tracing::info_span!(
        "execute_tool",
        otel.name = format!("execute_tool {}", call.name),
        gen_ai.operation.name = "execute_tool",
        gen_ai.tool.name = call.name,
        gen_ai.tool.call.id = call.id,
        gen_ai.agent.name = caller.agent,
        error.type = tracing::field::Empty,
    );
    caller.context.emit(|chat| Event::ToolStarted {
        chat,
        agent: caller.agent.clone(),
        call: call.clone(),
        from_code: caller.from_code,
    });
    let answer = checked_call(call, rules, caller).instrument(span.clone()).await;
    if answer.is_err() {
        // Not the error itself: it may quote the conversation, which spans must not contain.
        span.record("error.type", "tool_error");
    }
    caller.context.emit(|chat| Event::ToolFinished {
        chat,
        agent: caller.agent.clone(),
        result: result_of(call, answer.clone()),
    });
    answer
}

/// Makes all calls of a message at once. The results are in the order of the calls.
pub async fn make_calls(
    calls: &[ToolCall],
    rules: CallRules<'_>,
    caller: &Caller,
) -> Vec<ToolResult> {
    let results = calls
        .iter()
        .map(|call| async move { result_of(call, make_call(call, rules, caller).await) });
    futures_util::future::join_all(results).await
}

async fn checked_call(
    call: &ToolCall,
    rules: CallRules<'_>,
    caller: &Caller,
) -> Result<Value, String> {
    if let Some(bytes) = excessive_bytes(&call.arguments) {
        return Err(format!(
            "the arguments have {bytes} bytes; the maximum is {MAX_ARGUMENT_BYTES}"
        ));
    }
    let Some(tool) = rules.tools.iter().find(|tool| tool.spec().name == call.name) else {
        return Err(format!("Function {} not found.", call.name));
    };
    // Some models write nothing if there are no arguments.
    let written = if call.arguments.trim().is_empty() { "{}" } else { &call.arguments };
    let arguments: Value = serde_json::from_str(written)
        .map_err(|error| format!("{error}\n The argument must be in JSON format."))?;
    if tool.needs_approval() {
        let proposal = Proposal::Tool {
            agent: caller.agent.clone(),
            call: call.clone(),
            from_code: caller.from_code,
        };
        match rules.approval.ask(&proposal, rules.human).await {
            Ok(Verdict::Approved) => {}
            Ok(Verdict::Edited(_)) => return Err(refusal("")),
            Ok(Verdict::Refused { why }) => return Err(refusal(&why)),
            Ok(Verdict::Corrected { text }) => return Err(text),
            Err(error) => return Err(refusal(&format!("no person could be asked: {error}"))),
        }
    }
    let timeout = tool.timeout();
    let answer = AssertUnwindSafe(tool.call(arguments, caller)).catch_unwind();
    match tokio::time::timeout(timeout, answer).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => Err(format!("the tool `{}` panicked", call.name)),
        Err(_) => Err(format!("the tool `{}` did not answer within {timeout:?}", call.name)),
    }
}

/// The start of the object that replaces arguments which are too large; their size follows. It is
/// an object because providers require one.
const OMITTED: &str = "{\"bytes_left_out\":";

/// Replaces arguments that are too large for a call: they would be saved, shown, and sent with
/// every later request.
pub fn omit_large_arguments(call: &mut ToolCall) {
    if call.arguments.len() > MAX_ARGUMENT_BYTES {
        call.arguments = format!("{OMITTED}{}}}", call.arguments.len());
    }
}

/// The size of the arguments, before any replacement, if it is above the maximum.
fn excessive_bytes(arguments: &str) -> Option<usize> {
    let omitted = || arguments.strip_prefix(OMITTED)?.strip_suffix('}')?.parse().ok();
    let bytes = omitted().unwrap_or(arguments.len());
    (bytes > MAX_ARGUMENT_BYTES).then_some(bytes)
}

fn refusal(why: &str) -> String {
    if why.is_empty() {
        "the call was refused".to_owned()
    } else {
        format!("the call was refused: {why}")
    }
}

/// The result for the model.
fn result_of(call: &ToolCall, answer: Result<Value, String>) -> ToolResult {
    let is_error = answer.is_err();
    let content = match answer {
        Ok(Value::String(text)) => text,
        Ok(value) => value.to_string(),
        Err(why) => format!("Error: {why}"),
    };
    let content = head_and_tail(&content, MAX_ANSWER_BYTES).into_owned();
    ToolResult { id: call.id.clone(), name: call.name.clone(), content, is_error }
}

/// The record of a call.
pub fn record_of(agent: &str, call: &ToolCall, result: &ToolResult, from_code: bool) -> ToolRecord {
    ToolRecord {
        agent: agent.to_owned(),
        name: call.name.clone(),
        arguments: recorded_arguments(call),
        answer: result.content.clone(),
        is_error: result.is_error,
        from_code,
    }
}

/// The arguments of a call as its record has them.
pub fn recorded_arguments(call: &ToolCall) -> String {
    head_and_tail(&call.arguments, MAX_ANSWER_BYTES).into_owned()
}
