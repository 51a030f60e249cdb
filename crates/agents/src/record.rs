//! The record of a chat: its cost, its tool calls, the words of people, the reason for its end, and
//! its log on disk.
//!
//! Nothing here knows agents or how a chat runs. A log is created from names and a count of
//! messages.

mod budget;
mod calls;
mod cost;
mod format;
mod journal;
mod log;
mod result;
mod saved;

pub use budget::{Budget, BudgetExhausted, Ledger};
pub use calls::{INTERRUPTED_CALL, PendingCall, ToolRecord};
pub use cost::{Cost, ModelSpending, Spending};
pub use format::{Checkpoint, LOG_VERSION, PendingWork};
pub use journal::Journal;
pub use log::{Log, LogHeader, check_new_log};
pub use result::{ChatResult, StopReason};
pub use saved::SavedChat;

#[cfg(any(test, feature = "oracles"))]
pub use {format::LogLine, saved::read};
