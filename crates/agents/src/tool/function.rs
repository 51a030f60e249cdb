//! A Rust function as a tool.

use std::{fmt, sync::OnceLock, time::Duration};

use async_trait::async_trait;
use boon::{
    CompileError, Compiler, Draft, ErrorKind, SchemaIndex, Schemas, SchemeUrlLoader,
    ValidationError,
};
use cellblock_exec::BoxFuture;
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
    schema: OnceLock<Result<ArgumentSchema, String>>,
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
        schema: OnceLock::new(),
    }
}

impl FunctionTool {
    fn schema(&self) -> Result<&ArgumentSchema, String> {
        let schema = self.schema.get_or_init(|| {
            ArgumentSchema::compile(&self.spec.parameters).map_err(|error| {
                format!("the schema of the tool `{}` is not valid: {error}", self.spec.name)
            })
        });
        schema.as_ref().map_err(Clone::clone)
    }
}

/// A compiled schema of arguments.
struct ArgumentSchema {
    schemas: Schemas,
    index: SchemaIndex,
}

impl ArgumentSchema {
    /// Compiles a schema. References to other documents are refused.
    fn compile(schema: &Value) -> Result<Self, String> {
        const URL: &str = "http://tool.invalid/arguments.json";
        let mut compiler = Compiler::new();
        compiler.set_default_draft(Draft::V2020_12);
        // Without a scheme, it loads nothing. The default would read files.
        compiler.use_loader(Box::new(SchemeUrlLoader::new()));
        let mut schemas = Schemas::new();
        let text = |error: CompileError| format!("{error:#}");
        compiler.add_resource(URL, schema.clone()).map_err(text)?;
        let index = compiler.compile(URL, &mut schemas).map_err(text)?;
        Ok(Self { schemas, index })
    }

    /// Returns the first faults of the arguments, each after its place.
    fn faults(&self, arguments: &Value) -> Vec<String> {
        let mut faults = Vec::new();
        if let Err(error) = self.schemas.validate(arguments, self.index) {
            collect_faults(&error, &mut faults);
        }
        faults
    }
}

fn collect_faults(error: &ValidationError<'_, '_>, faults: &mut Vec<String>) {
    if faults.len() == MAX_FAULTS {
        return;
    }
    if !error.causes.is_empty() {
        error.causes.iter().for_each(|cause| collect_faults(cause, faults));
        return;
    }
    // Not the value itself: it may be long.
    let fault = match &error.kind {
        ErrorKind::Pattern { want, .. } => format!("does not match the pattern `{want}`"),
        ErrorKind::Format { want, .. } => format!("is not a valid {want}"),
        kind => kind.to_string(),
    };
    faults.push(match error.instance_location.to_string().as_str() {
        "" => fault,
        place => format!("{place}: {fault}"),
    });
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
        let faults = self.schema()?.faults(&arguments);
        if !faults.is_empty() {
            return Err(format!("the arguments do not match the schema: {}", faults.join("; ")));
        }
        (self.function)(arguments, caller.clone()).await
    }

    fn check(&self) -> Result<(), String> {
        self.schema().map(drop)
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
