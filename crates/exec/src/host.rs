//! Functions of the host that code in a cell may call: `from host import tools`, then `tools.search(query="crates")`.
//!
//! A model that can write code writes one program in place of ten tool calls. Nothing is offered by default; what is offered
//! is granted with each block ([`ExecutionRequest::host`](crate::ExecutionRequest::host)).

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The largest arguments of one call and the largest answer, in bytes of JSON: what both sides can hold in memory beside
/// everything else. A call beyond it fails in the program, with a message that says so.
pub const MAX_HOST_CALL_BYTES: usize = 8 * 1024 * 1024;

/// Functions that code in a cell may call.
///
/// The time of a call counts against the block's wall time. A block that is stopped drops the future of its call.
#[async_trait]
pub trait HostTools: fmt::Debug + Send + Sync {
    /// The functions that are offered. Executors ask once for each block, when its program first uses `tools`.
    fn functions(&self) -> Vec<HostFunction>;

    /// Calls one. The program gets the value; a failure is raised there as `host.ToolError` with this text. Executors pass on
    /// only names that are offered. The arguments come from a program: they need not fit the schema.
    ///
    /// # Errors
    /// What the program is to be told.
    async fn call(&self, name: &str, arguments: Map<String, Value>) -> Result<Value, String>;
}

/// A function that code in a cell may call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HostFunction {
    /// Its name. It becomes an attribute of `tools` if it is a Python identifier; `tools["any name"]` always works.
    pub name: String,
    /// What it does: the documentation that `help` shows.
    pub description: String,
    /// JSON schema of its arguments, an object. Arguments without a name are given those of its properties: first the required
    /// ones, in the order of `required`, then the others in the order of `properties` (alphabetical, unless `serde_json` is built
    /// with `preserve_order`).
    pub parameters: Value,
}
