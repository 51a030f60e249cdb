//! Calling a function of the host once, however often a block runs.
//!
//! A block runs again after a missing package was installed, and when Python moves to another
//! executor. What it called on the host has happened already: it must not happen twice, and the
//! block must see the same answers, or its variables would differ.

use std::{collections::HashMap, fmt, sync::Arc};

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::{Map, Value};

use crate::host::{HostFunction, HostTools};

/// The maximum size of the recorded calls of one block, in bytes. A program decides how much it
/// calls, so the record needs a bound.
pub const MAX_REPLAY_BYTES: usize = 16 << 20;

/// The memory that one recorded call takes beside its texts, in bytes, roughly.
const CALL_OVERHEAD: usize = 100;

/// Functions of the host for a block that may run more than once.
///
/// In the first run every call goes to the host, and its answer is recorded. After [`rerun`], a
/// call that equals a recorded one (name and arguments) gets the recorded answer. Calls match in
/// any order, because threads of a program may call in another order than before; among equal calls
/// the oldest answer comes first, and each answer is used once per run. [`NewCalls`] says what
/// happens to all other calls.
///
/// A call that had no answer yet when the run ended may have had its effect: a later run does not
/// make it again either, and gets an error.
///
/// A block whose calls exceed the bound has no record: it cannot be replayed in part, so every call
/// of a later run is refused.
///
/// [`rerun`]: HostReplay::rerun
pub struct HostReplay {
    tools: Arc<dyn HostTools>,
    max_bytes: usize,
    state: Mutex<State>,
}

/// The treatment of calls that were not made in earlier runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewCalls {
    /// They go to the host and are recorded: the block failed before, and gets further this time.
    Forward,
    /// They fail in the program: the block succeeded before, and should do the same again.
    Refuse,
}

#[derive(Default)]
struct State {
    /// Recorded answers by call.
    answers: HashMap<CallKey, Answers>,
    bytes: usize,
    /// True if the calls exceeded the bound; nothing is recorded then.
    is_too_large: bool,
    /// `None` in the first run.
    rerun: Option<NewCalls>,
    /// True if this run made a call that was refused.
    has_refused: bool,
}

/// A function's name, and its arguments as JSON with sorted keys.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct CallKey {
    name: String,
    arguments: String,
}

/// The answers to equal calls, oldest first. They are JSON texts, which take less memory than
/// values.
#[derive(Default)]
struct Answers {
    /// `None` for a call without an answer (yet).
    texts: Vec<Option<Result<String, String>>>,
    /// The number of answers that this run has had.
    used: usize,
}

impl HostReplay {
    /// Creates the functions of a block's first run. At most `max_bytes` of calls are recorded.
    pub fn new(tools: Arc<dyn HostTools>, max_bytes: usize) -> Self {
        Self { tools, max_bytes, state: Mutex::default() }
    }

    /// Starts another run: every recorded answer can be used again.
    pub fn rerun(&self, new_calls: NewCalls) {
        let mut state = self.state.lock();
        state.rerun = Some(new_calls);
        state.has_refused = false;
        state.answers.values_mut().for_each(|answers| answers.used = 0);
    }

    /// Returns the size of the record, in bytes.
    pub fn bytes(&self) -> usize {
        self.state.lock().bytes
    }

    /// True if all calls are recorded, so that the block can run again.
    pub fn is_complete(&self) -> bool {
        !self.state.lock().is_too_large
    }

    /// True if this run made all recorded calls and no other.
    pub fn is_faithful(&self) -> bool {
        let state = self.state.lock();
        let all_used = state.answers.values().all(|answers| answers.used == answers.texts.len());
        !state.has_refused && all_used
    }

    /// Returns the answer of an earlier run, or a refusal; `None` if the host is to be called.
    fn replay(&self, key: &CallKey) -> Option<Result<Value, String>> {
        let mut state = self.state.lock();
        let new_calls = state.rerun?;
        if let Some(answers) = state.answers.get_mut(key)
            && let Some(answer) = answers.texts.get(answers.used)
        {
            answers.used += 1;
            return Some(match answer {
                Some(Ok(json)) => serde_json::from_str(json)
                    .map_err(|error| format!("cannot read the recorded answer: {error}")),
                Some(Err(why)) => Err(why.clone()),
                None => Err(format!(
                    "`{}` is not called again: the block made this call before, and ended before \
                     the answer came",
                    key.name
                )),
            });
        }
        let why = match new_calls {
            _ if state.is_too_large => "its earlier calls were too large to record",
            NewCalls::Refuse => "it did not make this call before",
            NewCalls::Forward => return None,
        };
        state.has_refused = true;
        Some(Err(format!("`{}` is not called: the block runs again, and {why}", key.name)))
    }

    /// Records that a call starts. Returns its place among equal calls.
    fn record_start(&self, key: &CallKey) -> usize {
        let mut state = self.state.lock();
        if !state.reserve(CALL_OVERHEAD + key.name.len() + key.arguments.len(), self.max_bytes) {
            return 0;
        }
        let answers = state.answers.entry(key.clone()).or_default();
        answers.texts.push(None);
        answers.used += 1;
        answers.texts.len() - 1
    }

    fn record_answer(&self, key: &CallKey, place: usize, answer: &Result<Value, String>) {
        let answer = answer.as_ref().map(Value::to_string).map_err(Clone::clone);
        let (Ok(text) | Err(text)) = &answer;
        let mut state = self.state.lock();
        if state.reserve(text.len(), self.max_bytes)
            && let Some(entry) =
                state.answers.get_mut(key).and_then(|answers| answers.texts.get_mut(place))
        {
            *entry = Some(answer);
        }
    }
}

impl State {
    /// Counts more bytes. Drops the record and returns false if they exceed the bound.
    fn reserve(&mut self, bytes: usize, max_bytes: usize) -> bool {
        if self.is_too_large || self.bytes + bytes > max_bytes {
            self.is_too_large = true;
            (self.answers, self.bytes) = (HashMap::new(), 0);
            return false;
        }
        self.bytes += bytes;
        true
    }
}

impl CallKey {
    fn new(name: &str, arguments: &Map<String, Value>) -> Self {
        let mut arguments = Value::Object(arguments.clone());
        arguments.sort_all_objects();
        Self { name: name.to_owned(), arguments: arguments.to_string() }
    }
}

#[async_trait]
impl HostTools for HostReplay {
    fn functions(&self) -> Vec<HostFunction> {
        self.tools.functions()
    }

    async fn call(&self, name: &str, arguments: Map<String, Value>) -> Result<Value, String> {
        let key = CallKey::new(name, &arguments);
        if let Some(answer) = self.replay(&key) {
            return answer;
        }
        let place = self.record_start(&key);
        let answer = self.tools.call(name, arguments).await;
        self.record_answer(&key, place, &answer);
        answer
    }
}

impl fmt::Debug for HostReplay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostReplay").field("tools", &self.tools).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
