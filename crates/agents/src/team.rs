//! Teams: each member is a tool of its director's model. Members may direct teams of their own.

use std::{sync::Arc, time::Duration};

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::{
    agent::Agent,
    chat::Chat,
    code::{CodeExecution, asks_for_work},
    human::HumanInputMode,
    message::Message,
    model::{ModelClient, ToolSpec},
    prompts,
    record::{ChatResult, StopReason},
    tool::{Caller, FunctionTool, Tool, function_with_spec},
};

/// The timeout of a member: a whole chat, with code.
const TIMEOUT: Duration = Duration::from_secs(600);

/// The maximum of turns of a director's chat with a member: enough for its tools and code.
const MAX_TURNS: u32 = 10;

/// The maximum length of the part of a member's name that its tool's name has: the whole then has
/// at most 64 bytes.
const MAX_NAME_BYTES: usize = 48;

/// A member of a team.
#[derive(Debug, Clone)]
pub struct Member {
    /// The agent.
    pub agent: Agent,
    /// The way its code is run. Default: not at all; code is a part of its answer.
    pub code: Option<CodeExecution>,
}

impl From<Agent> for Member {
    fn from(agent: Agent) -> Self {
        Self { agent, code: None }
    }
}

/// Creates an agent that directs a team: its model gives parts of a task to members, several at
/// once if it likes, and combines the results. The cost of members counts as the director's.
pub fn director<M: Into<Member>>(
    name: impl Into<String>,
    model: Arc<dyn ModelClient>,
    team: impl IntoIterator<Item = M>,
) -> Agent {
    director_of(name.into(), model, team.into_iter().map(Into::into).collect())
}

fn director_of(name: String, model: Arc<dyn ModelClient>, team: Vec<Member>) -> Agent {
    let mut tools: Vec<Arc<dyn Tool>> = Vec::new();
    for member in team {
        let name = member.agent.name.clone();
        let mut tool = tool_of(member);
        // Two names that differ only in characters which a tool's name cannot have, as `a b` and
        // `a_b`.
        if tools.iter().any(|other| other.spec().name == tool.spec.name) {
            tool.spec.name = hashed_tool_name(&name);
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

/// Creates the tool `ask_<name>` for a member: a chat with it about one task. The answer is its
/// last message. A name that is too long for a tool, or is not ASCII, is shortened and gets a hash.
/// The code and the tools of the chat ask the person of the chat in which the tool is called.
pub fn member_tool(member: impl Into<Member>) -> FunctionTool {
    tool_of(member.into())
}

fn tool_of(member: Member) -> FunctionTool {
    let spec = ToolSpec {
        name: tool_name(&member.agent.name),
        description: format!("Gives a task to {}. {}", member.agent.name, member.agent.description),
        parameters: schemars::schema_for!(Task).to_value(),
    };
    let mut tool = function_with_spec(spec, move |arguments, caller| {
        let member = member.clone();
        async move {
            let Task { task } =
                serde_json::from_value(arguments).map_err(|error| error.to_string())?;
            give_task(member, task, caller).await
        }
    });
    tool.timeout = TIMEOUT;
    tool
}

async fn give_task(member: Member, task: String, caller: Caller) -> Result<Value, String> {
    let runs_code = member.code.is_some();
    let is_termination = move |history: &[Message]| {
        history.last().is_some_and(|last| !asks_for_work(last, runs_code))
    };
    let proxy = Agent {
        code: member.code,
        human: caller.human,
        human_input: HumanInputMode::Never,
        is_termination: Arc::new(is_termination),
        ..Agent::new(caller.agent)
    };
    let name = member.agent.name.clone();
    let chat = Chat { max_turns: Some(MAX_TURNS), ..Chat::between(proxy, member.agent) };
    let result = chat.run_within(&caller.context, task).await.map_err(|error| error.to_string())?;
    match result.stop.is_success() {
        true => Ok(Value::String(result.summary.trim().to_owned())),
        false => Err(failure(&name, &result)),
    }
}

/// The text for the director about a member that was stopped: the reason and the partial result.
fn failure(member: &str, result: &ChatResult) -> String {
    let own = result.history.iter().rev().filter(|message| message.name == member);
    let mut texts: Vec<String> = own.map(|message| message.text().trim().to_owned()).collect();
    if let StopReason::Failed { partial: Some(partial), .. } = &result.stop {
        texts.insert(0, partial.trim().to_owned());
    }
    match texts.into_iter().find(|text| !text.is_empty()) {
        Some(text) => format!("{}\nWhat {member} said last:\n{text}", result.stop),
        None => result.stop.to_string(),
    }
}

/// The name of a member's tool.
fn tool_name(member: &str) -> String {
    match member.is_ascii() && member.len() <= MAX_NAME_BYTES {
        true => format!("ask_{}", allowed_characters(member)),
        false => hashed_tool_name(member),
    }
}

/// A member's name with `_` for each character that a tool's name cannot have.
fn allowed_characters(member: &str) -> String {
    member.replace(|c: char| !c.is_ascii_alphanumeric(), "_")
}

/// A tool's name with a hash of the member's whole name, which distinguishes members whose names
/// would give the same tool. It is the same in every run.
fn hashed_tool_name(member: &str) -> String {
    let ascii: String = allowed_characters(member).chars().take(MAX_NAME_BYTES).collect();
    let words = ascii.split('_').filter(|word| !word.is_empty()).collect::<Vec<_>>().join("_");
    // FNV-1a, 32 bits.
    let hash = member
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    format!("ask_{}_{hash:08x}", if words.is_empty() { "member" } else { &words })
}
