//! Agents that direct others: each member of a team is a tool of its director's model. Members may direct teams of their own.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::{
    agent::{Agent, ends_with_terminate},
    chat::Chat,
    code::{CodeExecution, has_code},
    human::HumanInputMode,
    message::Message,
    model::{ModelClient, ToolSpec},
    prompts,
    tool::{FunctionTool, Tool, function_of},
};

/// How long a member may take by default: whole chats with code in them.
const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(600);

/// How many turns a chat of a director with a member has at most: enough for tools and code of the member.
const MAX_TURNS: u32 = 10;

/// A member of a team.
#[derive(Debug, Clone)]
pub struct Member {
    /// The agent.
    pub agent: Agent,
    /// What runs the code that it writes. Default: nothing; the code is part of its answer.
    pub code: Option<CodeExecution>,
}

impl From<Agent> for Member {
    fn from(agent: Agent) -> Self {
        Self { agent, code: None }
    }
}

/// An agent that directs a team: its model gives parts of a task to members, several at once if it likes, and puts the
/// results together. What members spend counts as the director's.
pub fn director<M: Into<Member>>(
    name: impl Into<String>,
    model: Arc<dyn ModelClient>,
    team: impl IntoIterator<Item = M>,
) -> Agent {
    Agent {
        description: "Directs a team and answers for its result.".to_owned(),
        system_message: prompts::DIRECTOR.to_owned(),
        tools: team.into_iter().map(|member| Arc::new(ask(member)) as Arc<dyn Tool>).collect(),
        ..Agent::assistant(name, model)
    }
}

#[derive(Deserialize, JsonSchema)]
struct Task {
    /// The task, with everything that is needed to do it.
    task: String,
}

/// A member as a tool, `ask_<name>`: a chat with it about one task. The answer is its last word.
pub fn ask(member: impl Into<Member>) -> FunctionTool {
    let member = member.into();
    let spec = ToolSpec {
        name: format!("ask_{}", member.agent.name.replace(|c: char| !c.is_ascii_alphanumeric(), "_")),
        description: format!("Gives a task to {}. {}", member.agent.name, member.agent.description),
        parameters: schemars::schema_for!(Task).to_value(),
    };
    let mut tool = function_of(spec, move |arguments, caller| {
        let member = member.clone();
        async move {
            let Task { task } = serde_json::from_value(arguments).map_err(|error| error.to_string())?;
            let runs_code = member.code.is_some();
            let proxy = Agent {
                code: member.code,
                human_input: HumanInputMode::Never,
                is_termination: Arc::new(move |message| is_last_word(message, runs_code)),
                ..Agent::new(caller.agent)
            };
            let chat = Chat { max_turns: Some(MAX_TURNS), ..Chat::between(proxy, member.agent) };
            let result = Box::pin(chat.run_within(&caller.context, task)).await.map_err(|error| error.to_string())?;
            match result.stop.is_success() {
                true => Ok(Value::String(result.summary.trim().to_owned())),
                false => Err(result.stop.to_string()),
            }
        }
    });
    tool.timeout = TIMEOUT;
    tool
}

/// Whether there is nothing left to do about a member's message: no tool to call, and no code, if code is run.
fn is_last_word(message: &Message, runs_code: bool) -> bool {
    let has_code = || runs_code && !ends_with_terminate(message) && has_code(&message.text());
    message.tool_calls.is_empty() && !has_code()
}
