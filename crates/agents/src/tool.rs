//! Tools: functions that a model can have called, with checked arguments.

mod call;
mod from_code;
mod function;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(crate) use call::{Call, answer_all, leave_out_large, record};
pub(crate) use from_code::{MOST_RECORDS, ToolsForCode};
pub use function::{FunctionTool, function, function_of};

use crate::{context::Context, human::Human, model::ToolSpec};

/// How long a tool may take by default.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

/// The largest arguments of a call, in bytes: the same as for calls out of code. What is larger is refused, and the model
/// is told; a message keeps only how large it was.
pub const MAX_ARGUMENT_BYTES: usize = cellblock_exec::MAX_HOST_CALL_BYTES;

/// The most that a model is told of a tool's answer, in bytes; of a longer one it gets the head and the tail. Code that calls
/// a tool gets everything.
pub const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Something that can be called.
#[async_trait]
pub trait Tool: fmt::Debug + Send + Sync {
    /// Its name, what it does, and the schema of its arguments, which are checked before it is called.
    fn spec(&self) -> &ToolSpec;

    /// How long a call may take.
    fn timeout(&self) -> Duration {
        DEFAULT_TIMEOUT
    }

    /// Whether a call is subject to the [approval](crate::Approval) of the agent that makes it, as its code is. One that runs
    /// no code, or runs it without asking anybody, asks the person behind it; where nobody is there, the call is refused.
    fn needs_approval(&self) -> bool {
        false
    }

    /// Calls it. The future is dropped at the timeout and when the chat is cancelled.
    ///
    /// # Errors
    /// What the model, or the program, is to be told.
    async fn call(&self, arguments: Value, caller: &Caller) -> Result<Value, String>;

    /// What is wrong with the tool itself, such as a schema that is none.
    ///
    /// # Errors
    /// The fault.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

/// Who calls a tool.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The agent.
    pub agent: String,
    /// The chat; chats that the tool holds are within it.
    pub context: Context,
    /// The person who is asked in chats that the tool holds; [`Nobody`](crate::Nobody) where nobody is there.
    pub human: Arc<dyn Human>,
    /// Whether the call comes out of running code.
    pub from_code: bool,
}

/// A call that was made, as [`ChatResult`](crate::chat::ChatResult) records it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolRecord {
    /// The agent that called.
    pub agent: String,
    /// The tool.
    pub name: String,
    /// The arguments, as JSON text.
    pub arguments: String,
    /// What it gave, or why there is nothing; at most [`MAX_ANSWER_BYTES`].
    pub answer: String,
    /// Whether it failed or was refused.
    pub is_error: bool,
    /// Whether the call came out of running code.
    pub from_code: bool,
}

/// What is wrong with an agent's tools, their names included.
pub(crate) fn check(tools: &[Arc<dyn Tool>]) -> Result<(), String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    for (place, tool) in tools.iter().enumerate() {
        let name = &tool.spec().name;
        if name.is_empty() || name.len() > 64 || !name.chars().all(fits) {
            return Err(format!(
                "the tool name `{name}` does not do: it takes 1 to 64 letters, digits, `_` and `-`"
            ));
        }
        if tools.iter().take(place).any(|other| other.spec().name == *name) {
            return Err(format!(
                "two tools of an agent are named `{name}`; give one of them another name"
            ));
        }
        tool.check()?;
    }
    Ok(())
}
