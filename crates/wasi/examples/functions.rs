//! Functions of this program that code in the sandbox calls.
//!
//! `cargo run --release -p cellblock-wasi --example functions`
#![allow(clippy::print_stdout)] // An example prints its results.

use std::sync::Arc;

use async_trait::async_trait;
use cellblock_exec::{
    ExecutionRequest, Executor as _, HostFunction, HostTools, Result, SessionSpec, Silent,
};
use cellblock_wasi::{ImageStore, Options, WasiExecutor};
use serde_json::{Map, Value, json};

#[derive(Debug)]
struct Crates;

#[async_trait]
impl HostTools for Crates {
    fn functions(&self) -> Vec<HostFunction> {
        vec![HostFunction {
            name: "downloads".into(),
            description: "How often a crate was downloaded, in millions.".into(),
            parameters: json!({
                "type": "object",
                "properties": {
                    "name": { "type": "string" },
                    "last_days": { "type": "integer", "default": 90 },
                },
                "required": ["name"],
            }),
        }]
    }

    // The arguments come from an untrusted program: check them. The program sees the text of an
    // error.
    async fn call(
        &self,
        _name: &str,
        arguments: Map<String, Value>,
    ) -> std::result::Result<Value, String> {
        match arguments.get("name").and_then(Value::as_str) {
            Some("serde") => Ok(json!(95)),
            Some("tokio") => Ok(json!(78)),
            Some(other) => Err(format!("there is no crate {other}")),
            None => Err("name must be a text".into()),
        }
    }
}

/// One block that replaces four calls by a model.
const CODE: &str = "
from host import tools, ToolError
for name in 'serde', 'tokio', 'sered':
    try:
        print(name, tools.downloads(name, last_days=30))
    except ToolError as error:
        print(error)
tools
";

#[tokio::main]
async fn main() -> Result<()> {
    let executor =
        WasiExecutor::start(ImageStore::in_user_cache()?, Options::default(), &Silent).await?;
    let mut session = executor.open(SessionSpec::default()).await?;
    let request =
        ExecutionRequest { host: Some(Arc::new(Crates)), ..ExecutionRequest::python(CODE) };
    println!("{}", session.execute(request).await?.stdout.text());
    // The next block has no grant.
    let result = session.execute(ExecutionRequest::python("tools.downloads('serde')")).await?;
    println!("{}", result.stderr.text().lines().last().unwrap_or_default());
    session.close().await
}
