//! Oracles: invariants of everything that this crate reads from untrusted sources.
//!
//! Each function takes any input and panics when an invariant is broken. The tests of this crate
//! call them with proptest, the targets in `fuzz/` with libFuzzer.
#![allow(clippy::unwrap_used, reason = "an oracle panics when an invariant is broken")]

use std::{
    path::{Component, Path},
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::{Map, Value};

use crate::{
    HostFunction, HostTools,
    python::{HostCalls, MAX_MESSAGE_BYTES},
    workspace::workspace_path,
};

#[cfg(test)]
mod tests;

/// Paths into a workspace.
///
/// An accepted path consists of names, none of them `.` or `..`, with one slash between them, so it
/// stays inside any directory that it is joined to. Checked again, it is the same.
pub fn file_name(path: &str) {
    let Ok(safe) = workspace_path(path) else { return };
    assert!(!safe.is_empty());
    let components: Vec<_> = Path::new(&safe).components().collect();
    let is_name = |component: &Component<'_>| matches!(component, Component::Normal(_));
    assert!(components.iter().all(is_name), "{safe:?}");
    assert_eq!(components.len(), safe.split('/').count(), "{safe:?}");
    assert!(!safe.contains('\0'));
    assert_eq!(workspace_path(&safe).as_ref(), Ok(&safe), "the normal form is its own");
    let directory = Path::new("/workspace");
    assert!(directory.join(&safe).starts_with(directory));
}

/// Questions of a program to the host.
///
/// - Every question gets an answer at once, within the maximum length: JSON after `v`, or a text
///   after `e`.
/// - Only offered functions are called, and only by a question that calls.
/// - Without a grant nothing is called, and the list is empty.
pub fn question(bytes: &[u8]) {
    // Longer ones are read in a thread, which needs a runtime.
    if bytes.len() > 1 << 16 {
        return;
    }
    let tools = Arc::new(Offered::default());
    for calls in [HostCalls::new(Some(tools.clone())), HostCalls::default()] {
        let mut answer = pin!(calls.answer(bytes.to_vec()));
        let Poll::Ready(answer) = answer.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        else {
            panic!("a tool that answers at once was waited for");
        };
        assert!(answer.len() <= MAX_MESSAGE_BYTES);
        match answer.split_first() {
            Some((b'v', json)) => drop(serde_json::from_slice::<Value>(json).unwrap()),
            Some((b'e', text)) => drop(std::str::from_utf8(text).unwrap()),
            _ => panic!("neither a value nor an error: {answer:?}"),
        }
    }
    let called = tools.called.lock();
    assert!(called.len() <= 1, "once with a grant, never without");
    assert!(called.iter().all(|name| name == Offered::NAME && bytes.starts_with(b"c")));
}

/// Offers one function, and records what is called.
#[derive(Debug, Default)]
struct Offered {
    called: Mutex<Vec<String>>,
}

impl Offered {
    const NAME: &str = "echo";
}

#[async_trait]
impl HostTools for Offered {
    fn functions(&self) -> Vec<HostFunction> {
        vec![HostFunction {
            name: Self::NAME.to_owned(),
            description: String::new(),
            parameters: Value::Object(Map::new()),
        }]
    }

    async fn call(&self, name: &str, arguments: Map<String, Value>) -> Result<Value, String> {
        self.called.lock().push(name.to_owned());
        Ok(Value::Object(arguments))
    }
}
