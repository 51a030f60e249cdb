//! The tool calls of a message, made by whoever answers it.

use std::sync::Arc;

use super::{
    log::Begun,
    running::{Running, Said},
};
use crate::{
    code::Approval,
    error::Result,
    message::{Message, ToolResult},
    tool::{Call, Caller, Tool, answer_all, record},
};

impl Running<'_> {
    pub(super) async fn call_tools(&mut self, speaker: usize, received: Option<&Message>) -> Result<Option<Said>> {
        let Some(last) = received.or(self.history.last()) else { return Ok(None) };
        if last.tool_calls.is_empty() {
            return Ok(None);
        }
        let (agent, calls) = (&self.chat.agents[speaker], last.tool_calls.clone());
        let asks = self.chat.find(&last.name).map(|place| &self.chat.agents[place]);
        // Tools belong to who was offered them; whoever answers may have their own in their place.
        let theirs = asks.map(|asks| asks.tools.as_slice()).unwrap_or_default();
        let tools: Vec<Arc<dyn Tool>> = agent.tools.iter().chain(theirs).cloned().collect();
        let results = if matches!(self.interrupted.take(), Some(Begun::Tools)) {
            calls.iter().map(cut_off).collect()
        } else {
            self.begin(Begun::Tools)?;
            let never = Approval::Never;
            let code = agent.code.as_ref().or_else(|| asks.and_then(|asks| asks.code.as_ref()));
            let approval = code.map_or(&never, |code| &code.approval);
            let with = Call { tools: &tools, approval, human: &agent.human };
            let name = asks.unwrap_or(agent).name.clone();
            let caller = Caller { agent: name.clone(), context: self.context.clone(), from_code: false };
            let results = answer_all(&calls, with, &caller).await;
            let records = calls.iter().zip(&results).map(|(call, result)| record(&name, call, result, false));
            self.called(records.collect())?;
            results
        };
        Ok(Some(Said::Message(Message { name: agent.name.clone(), tool_results: results, ..Message::default() })))
    }
}

/// The result of a call that was under way when the chat stopped.
fn cut_off(call: &crate::message::ToolCall) -> ToolResult {
    ToolResult {
        id: call.id.clone(),
        name: call.name.clone(),
        content:
            "Error: the chat was interrupted during this call. It may have had its effect, and was not made again."
                .to_owned(),
        is_error: true,
    }
}
