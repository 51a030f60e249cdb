//! Agents that talk, write code and have it run: conversations in the manner of AutoGen 0.2, over any executor and any
//! model.
//!
//! This crate knows the contracts only: executors come from `cellblock-exec`, models through [`ModelClient`]. It opens no
//! connection, names no executor, and prints nothing.
//!
//! ```
//! use std::sync::Arc;
//! use cellblock_agents::{Agent, Chat, CodeExecution, HumanInputMode, ModelClient, is_done};
//! use cellblock_exec::Executor;
//!
//! # async fn example(model: Arc<dyn ModelClient>, executor: Arc<dyn Executor>) -> cellblock_agents::Result<()> {
//! let assistant = Agent::assistant("assistant", model);
//! let code = Some(CodeExecution::new(executor));
//! let user = Agent {
//!     code,
//!     human_input: HumanInputMode::Never,
//!     // The assistant ends its last answer with TERMINATE; code in a message is run first.
//!     is_termination: Arc::new(is_done),
//!     ..Agent::user_proxy("user_proxy")
//! };
//! let chat = Chat { max_turns: Some(10), ..Chat::between(user, assistant) };
//! let result = chat.run("Plot a chart of NVDA and TESLA stock price change YTD.").await?;
//! println!("{} ({})", result.summary, result.stop);
//! # Ok(())
//! # }
//! ```

mod agent;
mod budget;
pub mod chat;
mod code;
mod context;
mod cost;
mod error;
pub mod event;
mod human;
mod message;
mod model;
mod nested;
pub mod prompts;
pub mod sanitize;
pub mod scripted;
pub mod sequence;
pub mod team;
mod text;
pub mod tool;
mod transcript;

pub use agent::{
    Agent, ChangeMessage, ChangeMessages, CustomReply, Hooks, Predicate, Reply, Turn,
    ends_with_terminate, ends_with_word,
};
pub use budget::{Budget, Spent};
#[cfg(feature = "oracles")]
pub use chat::oracles;
pub use chat::{
    AutoSelection, Chat, ChatResult, Opening, Speakers, StopReason, Summary, Transitions,
};
pub use code::{Approval, CodeExecution, has_something_to_run, is_done};
pub use context::Context;
pub use cost::{Cost, ModelSpending, Spending};
pub use error::{Error, Result};
pub use event::{Event, EventSink};
pub use human::{
    Asked, ChannelHuman, Decision, EXIT, Human, HumanInputMode, Nobody, Proposal, Question,
    ScriptedHuman,
};
pub use message::{Content, Image, Message, Part, ToolCall, ToolResult};
pub use model::{
    Completion, FinishReason, ModelClient, ModelError, ModelMessage, ModelRequest, Parameters,
    TextSink, ToolSpec, Usage,
};
pub use nested::{MakeMessage, Nested, NestedChat, NestedMessage, Trigger};
pub use tool::Tool;
pub use transcript::Transcript;
