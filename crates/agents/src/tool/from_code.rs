//! Tools that running code calls: `from host import tools`.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use cellblock_exec::{HostFunction, HostTools};
use serde_json::{Map, Value};

use super::{Call, Caller, Tool, ToolRecord, call};
use crate::{
    code::approval::Approval,
    human::Human,
    message::{ToolCall, ToolResult},
};

/// The tools of an agent for the code that it runs, with the same approval, and a record of each call.
#[derive(Debug)]
pub(crate) struct ToolsForCode {
    pub(crate) tools: Vec<Arc<dyn Tool>>,
    pub(crate) approval: Approval,
    pub(crate) human: Arc<dyn Human>,
    pub(crate) caller: Caller,
    number: AtomicUsize,
    records: Mutex<Vec<ToolRecord>>,
}

/// The most calls of one run of code that are recorded one by one; a loop may make millions.
const MOST_RECORDS: usize = 1000;

impl ToolsForCode {
    pub(crate) fn new(tools: Vec<Arc<dyn Tool>>, approval: Approval, human: Arc<dyn Human>, caller: Caller) -> Self {
        let caller = Caller { from_code: true, ..caller };
        Self { tools, approval, human, caller, number: AtomicUsize::new(0), records: Mutex::default() }
    }

    /// The calls that were made, the first [`MOST_RECORDS`] of them, and how many there were.
    pub(crate) fn records(&self) -> (Vec<ToolRecord>, usize) {
        let records = std::mem::take(&mut *self.records.lock().unwrap_or_else(PoisonError::into_inner));
        (records, self.number.load(Ordering::Relaxed))
    }
}

#[async_trait]
impl HostTools for ToolsForCode {
    fn functions(&self) -> Vec<HostFunction> {
        let specs = self.tools.iter().map(|tool| tool.spec().clone());
        specs
            .map(|spec| HostFunction { name: spec.name, description: spec.description, parameters: spec.parameters })
            .collect()
    }

    async fn call(&self, name: &str, arguments: Map<String, Value>) -> Result<Value, String> {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let call = ToolCall {
            id: format!("code-{number}"),
            name: name.to_owned(),
            arguments: Value::Object(arguments).to_string(),
        };
        let with = Call { tools: &self.tools, approval: &self.approval, human: &self.human };
        let answer = with.make(&call, &self.caller).await;
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        if records.len() < MOST_RECORDS {
            let (content, is_error) = match &answer {
                Ok(value) => (value.to_string(), false),
                Err(why) => (why.clone(), true),
            };
            let content = crate::text::head_and_tail(&content, super::MAX_ANSWER_BYTES).into_owned();
            let result = ToolResult { id: call.id.clone(), name: call.name.clone(), content, is_error };
            records.push(call::record(&self.caller.agent, &call, &result, true));
        }
        answer
    }
}
