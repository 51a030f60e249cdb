//! Agents that talk, write code and run it: conversations as in AutoGen 0.2, with any executor and
//! any model.
//!
//! The crate knows contracts only: executors come from `cellblock-exec`, models through
//! [`ModelClient`]. It opens no connection, names no executor, and prints nothing.
//!
//! ```
//! use std::sync::Arc;
//! use cellblock_agents::{Agent, Chat, CodeExecution, HumanInputMode, ModelClient, is_done};
//! use cellblock_exec::Executor;
//!
//! # async fn example(
//! #     model: Arc<dyn ModelClient>,
//! #     executor: Arc<dyn Executor>,
//! # ) -> cellblock_agents::Result<()> {
//! let assistant = Agent::assistant("assistant", model);
//! let user = Agent {
//!     code: Some(CodeExecution::new(executor)),
//!     human_input: HumanInputMode::Never,
//!     // The assistant ends its last answer with TERMINATE; code in a message runs first.
//!     is_termination: Arc::new(is_done),
//!     ..Agent::user_proxy("user_proxy")
//! };
//! let chat = Chat { max_turns: Some(10), ..Chat::between(user, assistant) };
//! let result = chat.run("Plot a chart of NVDA and TESLA stock price change YTD.").await?;
//! println!("{} ({})", result.summary, result.stop);
//! # Ok(())
//! # }
//! ```
//!
//! # Floors
//!
//! Each knows only those below it.
//!
//! | floor | modules |
//! |---|---|
//! | several chats | `sequence`, `team` |
//! | a chat under way | `run`: the loop, and the ways to an answer |
//! | descriptions | `agent`, `chat`: plain data |
//! | work | `code`, `tool`, and `approval` below both |
//! | a chat's surroundings | `context` |
//! | the record | `record`: cost, tool calls, results, the log |
//! | words | `message`, `model`, `human`, `event`, `error` |

mod agent;
mod approval;
mod chat;
mod code;
mod context;
mod error;
pub mod event;
mod human;
mod message;
mod model;
#[cfg(any(test, feature = "oracles"))]
pub mod oracles;
pub mod prompts;
mod record;
mod run;
pub mod sanitize;
pub mod scripted;
pub mod sequence;
pub mod team;
mod termination;
mod text;
pub mod tool;
mod transcript;

pub use agent::{
    Agent, ChangeMessage, ChangeMessages, CustomReply, Hooks, MakeMessage, NestedChat, NestedChats,
    NestedMessage, Reply, Trigger, Turn,
};
pub use approval::{Approval, ApprovalPolicy};
pub use chat::{
    Chat, MANAGER,
    opening::{MakeOpening, Opening},
    speakers::{AutoSelection, SelectSpeaker, Speakers, Transitions},
    summary::{MakeSummary, Summary},
};
pub use code::{CodeExecution, asks_for_work};
pub use context::Context;
pub use error::{Error, LogOperation, Result};
pub use event::{Event, EventSink};
pub use human::{
    ChannelHuman, Decision, EXIT, Human, HumanInputMode, HumanRequest, Nobody, Proposal, Question,
    ScriptedHuman,
};
pub use message::{Content, Image, Message, Part, ToolCall, ToolResult};
pub use model::{
    Completion, FinishReason, ModelClient, ModelError, ModelMessage, ModelRequest, Parameters,
    TextSink, ToolSpec, Usage,
};
pub use record::{
    Budget, BudgetExhausted, ChatResult, Cost, LOG_VERSION, ModelSpending, Spending, StopReason,
};
pub use termination::{Predicate, ends_with_terminate, ends_with_word, is_done};
pub use tool::Tool;
pub use transcript::Transcript;
