//! Tools: schemas, invalid calls, timeouts, panics, approval, and the view of results.

mod approval;
mod calls;
mod in_code;
mod in_groups;

use crate::cast::{says, script};
use cellblock_agents::scripted::{ScriptedAnswer, ScriptedModel};
use cellblock_agents::{
    Agent, Chat, Tool, ToolCall,
    tool::{self, FunctionTool},
};
use schemars::JsonSchema;
use serde::Deserialize;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

fn call(id: &str, name: &str, arguments: &str) -> ToolCall {
    ToolCall { id: id.to_owned(), name: name.to_owned(), arguments: arguments.to_owned() }
}

/// A chat in which the model makes these calls and then answers.
fn chat_with(tools: Vec<FunctionTool>, calls: Vec<ToolCall>) -> (Chat, Arc<ScriptedModel>) {
    let model = script([ScriptedAnswer::Calls(String::new(), calls), "done".into()]);
    let tools = tools.into_iter().map(|tool| Arc::new(tool) as Arc<dyn Tool>).collect();
    let assistant = Agent { tools, ..Agent::assistant("assistant", model.clone()) };
    (Chat { max_turns: Some(2), ..Chat::between(says("user", ""), assistant) }, model)
}

#[derive(Deserialize, JsonSchema)]
struct Text {
    text: String,
}

fn length() -> FunctionTool {
    tool::function("length", "Counts.", |Text { text }| async move { Ok::<_, String>(text.len()) })
}

/// A tool that needs approval, and the number of its calls.
fn dangerous() -> (FunctionTool, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = calls.clone();
    let mut tool = tool::function("launch", "Launches.", move |(): ()| {
        count.fetch_add(1, Ordering::SeqCst);
        async { Ok::<_, String>("launched") }
    });
    tool.needs_approval = true;
    (tool, calls)
}
