//! The host's side of `host.py`: it answers the questions of a program.
//!
//! A question begins with one byte. `l` asks for the offered functions; `c` calls one, and a JSON
//! list of its name and its arguments follows. An answer is `v` and JSON, or `e` and an error text.
//! Each executor transports the bytes in its own way. Questions come from a program and are
//! untrusted until checked.
//!
//! ```text
//!  program ─► host.py ─ question ─► wasi: the control device ─────────┐
//!                                   cells: worker, driver, the wire ──┴─► HostCalls ─► HostTools
//!  a value or ToolError ◄─ answer ◄───────────────────────────────────────────┘
//! ```
//!
//! `host.py` follows `notebook.py` in every driver and registers the module `host`. It asks nothing
//! until a block uses `tools`: first for the list, then one call after another. An executor only
//! transports, and drops [`HostCalls`] with the block. A guest is suspended while it reads the
//! answer. In a cell, the host waits for the answer beside all other messages, and the driver tells
//! the worker of a block that has ended that no answer will come.

use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::host::{HostFunction, HostTools, MAX_HOST_CALL_BYTES};

/// The maximum length of a question, and of an answer, in bytes.
pub const MAX_MESSAGE_BYTES: usize = MAX_HOST_CALL_BYTES + 1;

/// The maximum number of objects and lists in the arguments of a call. Each takes hundreds of bytes
/// of memory, but two bytes of JSON.
const MAX_CONTAINERS: usize = 100_000;
/// The maximum number of values in the arguments of a call. Each takes tens of bytes of memory.
const MAX_VALUES: usize = 1_000_000;
/// The length from which questions are parsed on a blocking thread, in bytes. Parsing them takes
/// milliseconds, and this thread may have other sessions to serve.
const MIN_LONG_BYTES: usize = 256 * 1024;

/// The functions that one block may call. It lives as long as the block runs.
#[derive(Debug, Default)]
pub struct HostCalls {
    tools: Option<Arc<dyn HostTools>>,
    /// The offered functions, requested once: they do not change while the block runs.
    offered: OnceLock<Vec<HostFunction>>,
}

impl HostCalls {
    /// Creates the calls of a block that was granted `tools`.
    pub fn new(tools: Option<Arc<dyn HostTools>>) -> Self {
        Self { tools, offered: OnceLock::new() }
    }

    /// Answers any question, also an invalid one, in at most [`MAX_MESSAGE_BYTES`]. Dropping the
    /// future drops that of the call.
    pub async fn answer(&self, question: Vec<u8>) -> Vec<u8> {
        let answer = match question.first() {
            _ if question.len() > MAX_MESSAGE_BYTES => Err(format!(
                "the arguments are longer than {MAX_HOST_CALL_BYTES} bytes as JSON; pass less at \
                    once"
            )),
            Some(b'l') => encode(self.offered(), "the list of functions is"),
            Some(b'c') => self.call(question).await,
            _ => Err("the host does not know this kind of question".to_owned()),
        };
        answer.unwrap_or_else(|why| {
            let mut answer = vec![b'e'];
            answer.extend_from_slice(cut(&why).as_bytes());
            answer
        })
    }

    fn offered(&self) -> &[HostFunction] {
        self.offered
            .get_or_init(|| self.tools.as_ref().map(|tools| tools.functions()).unwrap_or_default())
    }

    async fn call(&self, question: Vec<u8>) -> Result<Vec<u8>, String> {
        let Some(tools) = &self.tools else {
            return Err("this block cannot call host functions".to_owned());
        };
        let call = match question.len() {
            ..MIN_LONG_BYTES => read(&question),
            _ => match tokio::task::spawn_blocking(move || read(&question)).await {
                Ok(call) => call,
                Err(_) => Err("the host could not read the arguments".to_owned()),
            },
        };
        let Call(name, arguments) = call?;
        // A program can send any name, not only those of the list.
        if !self.offered().iter().any(|function| function.name == name) {
            let names: Vec<&str> =
                self.offered().iter().map(|function| function.name.as_str()).collect();
            return Err(format!("there is no function {name:?}; there are: {}", names.join(", ")));
        }
        let value = tools.call(&name, arguments).await.map_err(|why| match why.as_str() {
            "" => format!("{name} failed"),
            _ => why,
        })?;
        encode(&value, "the result is")
    }
}

/// A function's name, and the arguments.
#[derive(Deserialize)]
struct Call(String, Map<String, Value>);

/// Parses a call, unless it would take too much memory.
fn read(question: &[u8]) -> Result<Call, String> {
    let json = &question[1..];
    let (containers, values) = count(json);
    if containers > MAX_CONTAINERS || values > MAX_VALUES {
        return Err(format!(
            "the arguments have more than {MAX_CONTAINERS} lists and objects or {MAX_VALUES} \
                values; pass less at once"
        ));
    }
    serde_json::from_slice(json).map_err(|error| format!("the arguments cannot be read: {error}"))
}

/// Returns the number of lists and objects in a JSON text, and an upper bound of the number of
/// values. For other text the numbers mean nothing.
fn count(json: &[u8]) -> (usize, usize) {
    let (mut containers, mut values) = (0, 1);
    let (mut in_text, mut escaped) = (false, false);
    for byte in json {
        match (in_text, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => in_text = !in_text,
            (false, b'[' | b'{') => {
                containers += 1;
                values += 1;
            }
            (false, b',') => values += 1,
            _ => {}
        }
    }
    (containers, values)
}

/// Returns an answer with a value, unless it is too long.
fn encode(value: &(impl Serialize + ?Sized), what: &str) -> Result<Vec<u8>, String> {
    let mut bounded = Bounded(vec![b'v']);
    match serde_json::to_writer(&mut bounded, value) {
        Ok(()) => Ok(bounded.0),
        Err(error) if error.is_io() => {
            Err(format!("{what} longer than {MAX_HOST_CALL_BYTES} bytes as JSON"))
        }
        Err(error) => Err(format!("{what} not valid JSON: {error}")),
    }
}

/// A writer that holds at most one answer.
struct Bounded(Vec<u8>);

impl std::io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_MESSAGE_BYTES {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Returns as much of a text as fits into an answer.
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_HOST_CALL_BYTES)]
}

#[cfg(test)]
mod tests;
