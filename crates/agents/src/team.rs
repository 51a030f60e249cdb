//! Agents that direct others: each member of a team is a tool of its director's model. Members may direct teams of their own.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::{
    agent::Agent,
    chat::{Chat, ChatResult, StopReason},
    code::{CodeExecution, has_something_to_run},
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
    let mut tools: Vec<Arc<dyn Tool>> = Vec::new();
    for member in team {
        let member = member.into();
        let name = member.agent.name.clone();
        let mut tool = ask(member);
        // Names that differ only in what a tool's name cannot have, such as `a b` and `a_b`.
        if tools.iter().any(|other| other.spec().name == tool.spec.name) {
            tool.spec.name = marked_name(&name);
        }
        tools.push(Arc::new(tool));
    }
    Agent {
        description: "Directs a team and answers for its result.".to_owned(),
        system_message: prompts::DIRECTOR.to_owned(),
        tools,
        ..Agent::assistant(name, model)
    }
}

#[derive(Deserialize, JsonSchema)]
struct Task {
    /// The task, with everything that is needed to do it.
    task: String,
}

/// A member as a tool, `ask_<name>`: a chat with it about one task. The answer is its last word. A name that is too long for
/// a tool, or has letters other than ASCII, is shortened to what fits and gets a number of its own. The person whom the code
/// and the tools of the chat need is that of the chat that it is called in.
pub fn ask(member: impl Into<Member>) -> FunctionTool {
    let member = member.into();
    let spec = ToolSpec {
        name: tool_name(&member.agent.name),
        description: format!("Gives a task to {}. {}", member.agent.name, member.agent.description),
        parameters: schemars::schema_for!(Task).to_value(),
    };
    let mut tool = function_of(spec, move |arguments, caller| {
        let member = member.clone();
        async move {
            let Task { task } =
                serde_json::from_value(arguments).map_err(|error| error.to_string())?;
            let runs_code = member.code.is_some();
            let proxy = Agent {
                code: member.code,
                human: caller.human,
                human_input: HumanInputMode::Never,
                is_termination: Arc::new(move |message| is_last_word(message, runs_code)),
                ..Agent::new(caller.agent)
            };
            let name = member.agent.name.clone();
            let chat = Chat { max_turns: Some(MAX_TURNS), ..Chat::between(proxy, member.agent) };
            let result = Box::pin(chat.run_within(&caller.context, task))
                .await
                .map_err(|error| error.to_string())?;
            match result.stop.is_success() {
                true => Ok(Value::String(result.summary.trim().to_owned())),
                false => Err(stopped(&name, &result)),
            }
        }
    });
    tool.timeout = TIMEOUT;
    tool
}

/// Whether there is nothing left to do about a member's message: no tool to call, and no code, if code is run.
fn is_last_word(message: &Message, runs_code: bool) -> bool {
    if runs_code { !has_something_to_run(message) } else { message.tool_calls.is_empty() }
}

/// What the director is told of a member that was stopped: why, and what it had come to.
fn stopped(member: &str, result: &ChatResult) -> String {
    let own = result.history.iter().rev().filter(|message| message.name == member);
    let mut reached: Vec<String> = own.map(|message| message.text().trim().to_owned()).collect();
    if let StopReason::Failed { partial: Some(partial), .. } = &result.stop {
        reached.insert(0, partial.trim().to_owned());
    }
    match reached.into_iter().find(|text| !text.is_empty()) {
        Some(text) => format!("{}\nWhat {member} said last:\n{text}", result.stop),
        None => result.stop.to_string(),
    }
}

/// The longest part of a name that is taken over into that of a tool, so that the whole has at most 64 bytes.
const MOST_OF_NAME: usize = 48;

/// The name of the tool that asks a member.
fn tool_name(member: &str) -> String {
    match member.is_ascii() && member.len() <= MOST_OF_NAME {
        true => format!("ask_{}", fitting(member)),
        false => marked_name(member),
    }
}

/// What a tool's name can have of a member's.
fn fitting(member: &str) -> String {
    member.replace(|c: char| !c.is_ascii_alphanumeric(), "_")
}

/// A name that tells two members apart whose names fit in the same way: with a number that depends on the whole name, so that
/// it is the same in every run.
fn marked_name(member: &str) -> String {
    let ascii: String = fitting(member).chars().take(MOST_OF_NAME).collect();
    let words = ascii.split('_').filter(|word| !word.is_empty()).collect::<Vec<_>>().join("_");
    // FNV-1a.
    let number = member
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    format!("ask_{}_{number:08x}", if words.is_empty() { "member" } else { &words })
}
