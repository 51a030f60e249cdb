//! The contract of a tool.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use serde_json::Value;

use crate::{context::Context, human::Human, model::ToolSpec};

/// The default timeout of a call.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

/// The maximum size of the arguments of a call, in bytes: the same as for calls from code. A larger
/// call is refused, the model gets the reason, and the message only keeps the size.
pub const MAX_ARGUMENT_BYTES: usize = cellblock_exec::MAX_HOST_CALL_BYTES;

/// The maximum size of an answer for a model, in bytes. Of a longer one the model gets the head and
/// the tail. Code that calls a tool gets the whole answer.
pub const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// A tool that can be called.
#[async_trait]
pub trait Tool: fmt::Debug + Send + Sync {
    /// The name, the purpose, and the schema of the arguments, which are checked before a call.
    fn spec(&self) -> &ToolSpec;

    /// The timeout of a call.
    fn timeout(&self) -> Duration {
        DEFAULT_TIMEOUT
    }

    /// True if a call needs the [approval](crate::Approval) of the agent that makes it, as its code
    /// does. An agent that runs no code, or runs it without approval, asks the person behind it; if
    /// nobody is present, the call is refused.
    fn needs_approval(&self) -> bool {
        false
    }

    /// Calls the tool. The future is dropped at the timeout and when the chat is cancelled.
    ///
    /// # Errors
    /// The text for the model or the program.
    async fn call(&self, arguments: Value, caller: &Caller) -> Result<Value, String>;

    /// Checks the tool itself, such as its schema. It is called before a chat starts.
    ///
    /// # Errors
    /// The fault.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

/// The caller of a tool.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The agent.
    pub agent: String,
    /// The chat. Chats that the tool holds are within it.
    pub context: Context,
    /// The person for chats that the tool holds; [`Nobody`](crate::Nobody) if nobody is present.
    pub human: Arc<dyn Human>,
    /// True if running code makes the call.
    pub from_code: bool,
}

/// Checks the tools of an agent and their names.
///
/// # Errors
/// The first fault.
pub fn check_tools(tools: &[Arc<dyn Tool>]) -> Result<(), String> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    for (place, tool) in tools.iter().enumerate() {
        let name = &tool.spec().name;
        if name.is_empty() || name.len() > 64 || !name.chars().all(is_allowed) {
            return Err(format!(
                "invalid tool name `{name}`: use 1 to 64 letters, digits, `_` and `-`"
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
