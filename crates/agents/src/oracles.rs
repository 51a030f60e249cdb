//! Oracles: the invariants of every file that is read as a saved chat.
//!
//! Each function takes any bytes and panics if an invariant is broken. The tests of this crate call
//! them with bytes from proptest, the targets in `fuzz/` with bytes from libFuzzer.
#![allow(clippy::unwrap_used, reason = "an oracle panics when an invariant is broken")]

use std::{path::Path, sync::Arc};

use async_trait::async_trait;
use tokio::runtime::Builder;

use crate::{
    Agent, Chat, Completion, HumanInputMode, Message, ModelClient, ModelError, ModelRequest,
    TextSink, Usage,
    record::{LogLine, read},
};

#[cfg(test)]
mod tests;

/// Reads a log.
///
/// - The valid part is a start of the file that ends with a whole line; after it there is at most
///   one partial line. Read alone, it has the same content.
/// - A line that is written as it was read has the same content.
/// - There are as many messages as the header announces; open calls are calls that started.
pub fn saved_chat(bytes: &[u8]) {
    let path = Path::new("chat.jsonl");
    let Ok(saved) = read(path, bytes) else { return };
    let length = usize::try_from(saved.valid_bytes).unwrap();
    let (whole, cut_off) = bytes.split_at(length);
    assert!(whole.ends_with(b"\n") && !cut_off.contains(&b'\n'));
    let again = read(path, whole).unwrap();
    assert_eq!(format!("{again:?}"), format!("{saved:?}"));
    assert!(saved.history.len() >= saved.before + usize::from(saved.opened));
    assert!(saved.open_calls.iter().all(|open| saved.started_calls.contains(open)));
    for line in whole.split_inclusive(|byte| *byte == b'\n').skip(1) {
        let parsed: LogLine = serde_json::from_slice(line).unwrap();
        let written = serde_json::to_vec(&parsed).unwrap();
        let again: LogLine = serde_json::from_slice(&written).unwrap();
        assert_eq!(format!("{again:?}"), format!("{parsed:?}"));
    }
}

/// Resumes a chat of `user` and `assistant` from a log.
///
/// - The chat starts with all messages of the log, and adds no more than its maximum.
/// - The file then has the whole chat: it can be read, and has the messages of the result.
pub fn resumed_chat(bytes: &[u8]) {
    const TURNS: usize = 2;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("chat.jsonl");
    std::fs::write(&path, bytes).unwrap();
    let user = Agent { human_input: HumanInputMode::Never, ..Agent::user_proxy("user") };
    let assistant = Agent::assistant("assistant", Arc::new(Polite));
    let chat = Chat {
        log: Some(path.clone()),
        max_turns: Some(TURNS as u32),
        ..Chat::between(user, assistant)
    };
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let Ok(result) = runtime.block_on(chat.resume()) else { return };
    let before = read(&path, bytes).unwrap();
    let said = |messages: &[Message]| {
        messages
            .iter()
            .map(|message| (message.name.clone(), message.content.clone()))
            .collect::<Vec<_>>()
    };
    let all = said(&result.history);
    assert!(all.starts_with(&said(&before.history)), "the history is not the start");
    let most = before.history.len().max(before.before + 2 * TURNS) + 1;
    assert!(all.len() <= most, "{} messages, {most} at most", all.len());
    let after = read(&path, &std::fs::read(&path).unwrap()).unwrap();
    assert_eq!(said(&after.history), all);
}

/// A model that always answers the same.
#[derive(Debug)]
struct Polite;

#[async_trait]
impl ModelClient for Polite {
    fn name(&self) -> &str {
        "polite"
    }

    fn provider(&self) -> &str {
        "oracle"
    }

    async fn complete(
        &self,
        _request: &ModelRequest,
        _on_text: Option<&TextSink>,
    ) -> Result<Completion, ModelError> {
        let usage = Usage { prompt_tokens: 1, completion_tokens: 1 };
        Ok(Completion { usage, cost: 0.01, ..Completion::text("polite", "thank you") })
    }
}
