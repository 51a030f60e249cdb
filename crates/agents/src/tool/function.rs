//! A Rust function as a tool.

use std::{fmt, sync::OnceLock, time::Duration};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use jsonschema::Validator;
use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{Caller, DEFAULT_TIMEOUT, Tool};
use crate::model::ToolSpec;

type Function = dyn Fn(Value, Caller) -> BoxFuture<'static, Result<Value, String>> + Send + Sync;

/// A function that is a tool.
pub struct FunctionTool {
    /// Its name, what it does, and the schema of its arguments.
    pub spec: ToolSpec,
    /// How long a call may take. Default: [`DEFAULT_TIMEOUT`].
    pub timeout: Duration,
    /// Whether a call is subject to the agent's approval. Default: no.
    pub needs_approval: bool,
    function: Box<Function>,
    validator: OnceLock<Result<Validator, String>>,
}

impl fmt::Debug for FunctionTool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FunctionTool")
            .field("spec", &self.spec)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// A tool from a function. The schema of its arguments comes from their type; doc comments of the type's fields become
/// descriptions that the model reads.
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
/// let add = tool::function("add", "Adds two numbers.", |Add { a, b }| async move { Ok::<_, String>(a + b) });
/// assert_eq!(add.spec.parameters["properties"]["a"]["description"], "The first number.");
/// ```
pub fn function<A, R, E, F, Fut>(name: &str, description: &str, function: F) -> FunctionTool
where
    A: DeserializeOwned + JsonSchema,
    R: Serialize,
    E: fmt::Display,
    F: Fn(A) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<R, E>> + Send + 'static,
{
    let schema = schemars::schema_for!(A);
    let spec = ToolSpec {
        name: name.to_owned(),
        description: description.to_owned(),
        parameters: schema.to_value(),
    };
    function_of(spec, move |arguments, _| {
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

/// A tool whose schema is only known when the program runs, from a function of JSON that also sees who calls.
pub fn function_of<F, Fut>(spec: ToolSpec, function: F) -> FunctionTool
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
        // Enough to mend a call, and not so much that a hostile one fills the conversation.
        const MOST_FAULTS: usize = 5;
        let faults: Vec<_> = self
            .validator()?
            .iter_errors(&arguments)
            .take(MOST_FAULTS)
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
