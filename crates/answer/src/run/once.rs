//! A block that runs again after an installation calls nothing of the host a second time.

use std::sync::Arc;

use async_trait::async_trait;
use cellblock_exec::{HostFunction, HostTools};
use parking_lot::Mutex;
use serde_json::{Map, Value};

/// How much of a block's calls is kept for the next attempt, in bytes of JSON.
const MOST_KEPT: usize = 64 << 20;

/// The functions of the host for all attempts of one block: what an attempt called, the next one gets the answer of.
#[derive(Debug)]
pub struct Once {
    tools: Arc<dyn HostTools>,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    calls: Vec<Call>,
    bytes: usize,
    /// Whether there was more than could be kept.
    is_cut: bool,
    /// Whether this is a later attempt.
    is_again: bool,
}

/// A call that was made.
#[derive(Debug)]
struct Call {
    name: String,
    arguments: Map<String, Value>,
    answer: Result<Value, String>,
    /// Whether this attempt has had the answer.
    is_used: bool,
}

impl Once {
    pub fn new(tools: Arc<dyn HostTools>) -> Self {
        Self { tools, kept: Mutex::default() }
    }

    /// Another attempt begins.
    pub fn again(&self) {
        let mut kept = self.kept.lock();
        kept.is_again = true;
        kept.calls.iter_mut().for_each(|call| call.is_used = false);
    }

    /// The answer of an earlier attempt's call, or why there can be none.
    fn earlier(&self, name: &str, arguments: &Map<String, Value>) -> Option<Result<Value, String>> {
        let mut kept = self.kept.lock();
        if !kept.is_again {
            return None;
        }
        // Threads may call in another order than before: any call that was the same will do, the oldest first.
        let same =
            |call: &&mut Call| !call.is_used && call.name == name && call.arguments == *arguments;
        if let Some(call) = kept.calls.iter_mut().find(same) {
            call.is_used = true;
            return Some(call.answer.clone());
        }
        kept.is_cut.then(|| {
            Err(format!("{name} is not called: the block runs again, and it made more calls before than could be kept"))
        })
    }

    fn keep(&self, call: Call, bytes: usize) {
        let mut kept = self.kept.lock();
        kept.bytes += bytes;
        kept.is_cut |= kept.bytes > MOST_KEPT;
        if !kept.is_cut {
            kept.calls.push(call);
        }
    }
}

#[async_trait]
impl HostTools for Once {
    fn functions(&self) -> Vec<HostFunction> {
        self.tools.functions()
    }

    async fn call(&self, name: &str, arguments: Map<String, Value>) -> Result<Value, String> {
        if let Some(answer) = self.earlier(name, &arguments) {
            return answer;
        }
        let answer = self.tools.call(name, arguments.clone()).await;
        let size = |value: &Value| value.to_string().len();
        let told = answer.as_ref().map_or_else(String::len, size);
        let bytes = name.len()
            + told
            + arguments.iter().map(|(name, value)| name.len() + size(value)).sum::<usize>();
        self.keep(
            Call { name: name.to_owned(), arguments, answer: answer.clone(), is_used: true },
            bytes,
        );
        answer
    }
}
