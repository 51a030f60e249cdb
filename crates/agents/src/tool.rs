//! Tools: functions that a model, or the code that it wrote, can call with checked arguments.
//!
//! [`function()`] turns a Rust function into a tool. All calls go through `tool/call.rs`: size of
//! the arguments, approval, timeout and panics are handled there.

mod call;
mod contract;
mod from_code;
mod function;

pub use contract::{Caller, DEFAULT_TIMEOUT, MAX_ANSWER_BYTES, MAX_ARGUMENT_BYTES, Tool};
pub use function::{FunctionTool, function, function_with_spec};

pub(crate) use call::{CallRules, make_calls, omit_large_arguments, record_of};
pub(crate) use contract::check_tools;
pub(crate) use from_code::{MAX_RECORDED_CALLS, ToolsForCode};

pub use crate::record::ToolRecord;
