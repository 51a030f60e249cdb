//! What is kept of a block so that it can run again elsewhere: its request, and what it called on the host, so that nothing is
//! called twice.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::{Map, Value};

use crate::{
    ExecutionRequest,
    host::{HostFunction, HostTools},
};

/// A block that succeeded.
#[derive(Debug)]
pub(super) struct Past {
    pub(super) request: ExecutionRequest,
    /// What it called, if it was granted anything.
    pub(super) record: Arc<Record>,
}

/// What of a request can be run again.
pub(super) fn again(request: &ExecutionRequest) -> ExecutionRequest {
    ExecutionRequest {
        code: request.code.clone(),
        language: request.language.clone(),
        filename: request.filename.clone(),
        stdin: request.stdin.clone(),
        wall: request.wall,
        sink: None,
        host: request.host.clone(),
        cancel: request.cancel.clone(),
    }
}

/// Passes calls on to the host and takes them down.
#[derive(Debug)]
pub(super) struct Recorder {
    tools: Arc<dyn HostTools>,
    /// How much may be taken down, in bytes.
    room: usize,
    record: Mutex<Record>,
}

/// The calls of one block, in order.
#[derive(Debug, Default)]
pub(super) struct Record {
    calls: Vec<Call>,
    /// How much it is, in bytes.
    pub(super) bytes: usize,
    /// Whether there was more than could be kept. Nothing is kept then.
    pub(super) is_cut: bool,
}

/// A call, with arguments and result as JSON, which takes less room than values.
#[derive(Debug)]
struct Call {
    name: String,
    arguments: String,
    result: Result<String, String>,
}

impl Recorder {
    /// Takes down as much as `room` bytes of the calls of `tools`.
    pub(super) fn new(tools: Arc<dyn HostTools>, room: usize) -> Self {
        Self { tools, room, record: Mutex::default() }
    }

    /// What was taken down. It begins anew.
    pub(super) fn take(&self) -> Record {
        std::mem::take(&mut self.record.lock())
    }

    fn keep(&self, call: Call) {
        /// About what a call takes besides its texts.
        const ENTRY: usize = 100;
        let record = &mut *self.record.lock();
        let (Ok(result) | Err(result)) = &call.result;
        record.bytes += ENTRY + call.name.len() + call.arguments.len() + result.len();
        record.is_cut |= record.bytes > self.room;
        if record.is_cut {
            (record.calls, record.bytes) = (Vec::new(), 0);
        } else {
            record.calls.push(call);
        }
    }
}

#[async_trait]
impl HostTools for Recorder {
    fn functions(&self) -> Vec<HostFunction> {
        self.tools.functions()
    }

    async fn call(&self, name: &str, arguments: Map<String, Value>) -> Result<Value, String> {
        let asked = Value::Object(arguments.clone()).to_string();
        let result = self.tools.call(name, arguments).await;
        let answered = result.as_ref().map(Value::to_string).map_err(Clone::clone);
        self.keep(Call { name: name.to_owned(), arguments: asked, result: answered });
        result
    }
}

/// Answers a block that runs again as the host did the first time. It calls nothing.
#[derive(Debug)]
pub(super) struct Replay {
    tools: Arc<dyn HostTools>,
    record: Arc<Record>,
    next: AtomicUsize,
    differs: AtomicBool,
}

impl Replay {
    /// `tools` only says what is offered.
    pub(super) fn new(tools: Arc<dyn HostTools>, record: Arc<Record>) -> Self {
        Self { tools, record, next: AtomicUsize::new(0), differs: AtomicBool::new(false) }
    }

    /// Whether the block called what it had called before, and all of it.
    pub(super) fn agrees(&self) -> bool {
        !self.differs.load(Ordering::SeqCst)
            && self.next.load(Ordering::SeqCst) == self.record.calls.len()
    }
}

#[async_trait]
impl HostTools for Replay {
    fn functions(&self) -> Vec<HostFunction> {
        self.tools.functions()
    }

    async fn call(&self, name: &str, arguments: Map<String, Value>) -> Result<Value, String> {
        let call = self.record.calls.get(self.next.fetch_add(1, Ordering::SeqCst));
        // Values are compared, and not texts: names may stand in another order.
        let same = |call: &&Call| {
            call.name == name
                && serde_json::from_str::<Map<String, Value>>(&call.arguments)
                    .is_ok_and(|a| a == arguments)
        };
        let Some(call) = call.filter(same) else {
            self.differs.store(true, Ordering::SeqCst);
            return Err(format!(
                "{name} is not called: this block runs again, and did not call this before"
            ));
        };
        match &call.result {
            Ok(value) => serde_json::from_str(value)
                .map_err(|error| format!("the result is not kept: {error}")),
            Err(why) => Err(why.clone()),
        }
    }
}
