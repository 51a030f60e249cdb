//! A Rust function as a tool.

use std::{fmt, sync::OnceLock, time::Duration};

use async_trait::async_trait;
use cellblock_exec::BoxFuture;
use jsonschema::Validator;
use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::contract::{Caller, DEFAULT_TIMEOUT, Tool};
use crate::model::ToolSpec;

/// The maximum of faults that an answer names: enough to correct a call, and not so much that a
/// hostile call fills the conversation.
const MAX_FAULTS: usize = 5;

type Function = dyn Fn(Value, Caller) -> BoxFuture<'static, Result<Value, String>> + Send + Sync;

/// A function as a tool.
pub struct FunctionTool {
    /// The name, the purpose, and the schema of the arguments.
    pub spec: ToolSpec,
    /// The timeout of a call. Default: [`DEFAULT_TIMEOUT`].
    pub timeout: Duration,
    /// True if a call needs the agent's approval. Default: false.
    pub needs_approval: bool,
    function: Box<Function>,
    validator: OnceLock<Result<Validator, String>>,
}

/// Creates a tool from a function. The type of the arguments gives their schema; doc comments of
/// its fields become descriptions for the model.
///
/// ```
/// # use cellblock_agents::tool;
/// #[derive(serde::Deserialize, schemars::JsonSchema)]
/// struct Add {
///     /// The first number.
///     a: i64,
///     /// The second number.
///     b: i64,
/// }
///
/// let add = tool::function("add", "Adds two numbers.", |Add { a, b }| async move {
///     Ok::<_, String>(a + b)
/// });
/// let properties = &add.spec.parameters["properties"];
/// assert_eq!(properties["a"]["description"], "The first number.");
/// ```
pub fn function<A, R, E, F, Fut>(name: &str, description: &str, function: F) -> FunctionTool
where
    A: DeserializeOwned + JsonSchema,
    R: Serialize,
    E: fmt::Display,
    F: Fn(A) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<R, E>> + Send + 'static,
{
    let spec = ToolSpec {
        name: name.to_owned(),
        description: description.to_owned(),
        parameters: schemars::schema_for!(A).to_value(),
    };
    function_with_spec(spec, move |arguments, _| {
        let call = serde_json::from_value(arguments).map(&function);
        async move {
            let value = call
                .map_err(|error| error.to_string())?
                .await
                .map_err(|error| error.to_string())?;
            serde_json::to_value(value).map_err(|error| error.to_string())
        }
    })
}

/// Creates a tool whose schema is only known at run time, from a function of JSON that also gets
/// the caller.
pub fn function_with_spec<F, Fut>(spec: ToolSpec, function: F) -> FunctionTool
where
    F: Fn(Value, Caller) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Value, String>> + Send + 'static,
{
    FunctionTool {
        spec,
        timeout: DEFAULT_TIMEOUT,
        needs_approval: false,
        function: Box::new(move |arguments, caller| Box::pin(function(arguments, caller))),
        validator: OnceLock::new(),
    }
}

impl FunctionTool {
    fn validator(&self) -> Result<&Validator, String> {
        let validator = self.validator.get_or_init(|| {
            jsonschema::validator_for(&self.spec.parameters).map_err(|error| {
                format!("the schema of the tool `{}` is not valid: {error}", self.spec.name)
            })
        });
        validator.as_ref().map_err(Clone::clone)
    }
}

#[async_trait]
impl Tool for FunctionTool {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    fn timeout(&self) -> Duration {
        self.timeout
    }

    fn needs_approval(&self) -> bool {
        self.needs_approval
    }

    async fn call(&self, arguments: Value, caller: &Caller) -> Result<Value, String> {
        let faults: Vec<_> = self
            .validator()?
            .iter_errors(&arguments)
            .take(MAX_FAULTS)
            .map(|fault| match fault.instance_path().as_str() {
                "" => fault.masked().to_string(),
                path => format!("{path}: {}", fault.masked()),
            })
            .collect();
        if !faults.is_empty() {
            return Err(format!("the arguments do not fit: {}", faults.join("; ")));
        }
        (self.function)(arguments, caller.clone()).await
    }

    fn check(&self) -> Result<(), String> {
        self.validator().map(drop)
    }
}

impl fmt::Debug for FunctionTool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FunctionTool")
            .field("spec", &self.spec)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
