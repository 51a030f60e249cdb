//! Functions of the host that code in a cell may call: `from host import tools`, then
//! `tools.search(query="crates")`.
//!
//! A model that writes code needs one program instead of ten tool calls. By default nothing is
//! offered; functions are granted with each block
//! ([`ExecutionRequest::host`](crate::ExecutionRequest::host)).

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The maximum size of the arguments of a call, and of its answer, in bytes of JSON. Both sides
/// hold them in memory. A larger call fails in the program, with a message that says so.
pub const MAX_HOST_CALL_BYTES: usize = 8 * 1024 * 1024;

/// Functions that code in a cell may call.
///
/// The time of a call counts against the block's wall time. A block that is stopped drops the
/// future of its call.
#[async_trait]
pub trait HostTools: fmt::Debug + Send + Sync {
    /// Returns the offered functions. Executors ask once for each block, when its program first
    /// uses `tools`.
    fn functions(&self) -> Vec<HostFunction>;

    /// Calls a function and returns its value to the program. A failure is raised there as
    /// `host.ToolError` with this text. Executors forward only offered names. The arguments come
    /// from a program and may not fit the schema.
    ///
    /// # Errors
    /// The message for the program.
    async fn call(&self, name: &str, arguments: Map<String, Value>) -> Result<Value, String>;
}

/// A function that code in a cell may call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HostFunction {
    /// Its name. It becomes an attribute of `tools` if it is a Python identifier;
    /// `tools["any name"]` always works.
    pub name: String,
    /// Its description, which `help` shows.
    pub description: String,
    /// The JSON schema of its arguments, an object. Positional arguments fill the required
    /// properties first, in the order of `required`, then the others in the order of `properties`
    /// (alphabetical, unless `serde_json` is built with `preserve_order`).
    pub parameters: Value,
}
