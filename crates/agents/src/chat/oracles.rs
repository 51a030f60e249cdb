//! Oracles: what holds of every file that is taken for a saved chat.
//!
//! Each function takes any bytes and panics when an invariant is broken. The tests of this crate call them with bytes that
//! proptest makes, the targets in `fuzz/` with bytes that libFuzzer makes.
#![allow(clippy::unwrap_used, reason = "an oracle panics when an invariant is broken")]

use std::{path::Path, sync::Arc};

use async_trait::async_trait;
use tokio::runtime::Builder;

use super::{Chat, log::Line, saved};
use crate::{
    Agent, Completion, HumanInputMode, Message, ModelClient, ModelError, ModelRequest, TextSink,
    Usage,
};

#[cfg(test)]
mod tests;

/// A log, as it is read.
///
/// - What makes sense is a beginning of the file that ends with a whole line; after it there is at most one line that was
///   cut off. Read alone, it tells the same.
/// - A line that is written again as it was read tells the same.
/// - There are as many messages as the header announces; calls without an end are calls that began.
pub fn saved_chat(bytes: &[u8]) {
    let path = Path::new("chat.jsonl");
    let Ok(saved) = saved::read(path, bytes) else { return };
    let length = usize::try_from(saved.length).unwrap();
    let (whole, cut_off) = bytes.split_at(length);
    assert!(whole.ends_with(b"\n") && !cut_off.contains(&b'\n'));
    let again = saved::read(path, whole).unwrap();
    assert_eq!(format!("{again:?}"), format!("{saved:?}"));
    assert!(saved.history.len() >= saved.before + usize::from(saved.opened));
    assert!(saved.open.iter().all(|open| saved.began.contains(open)));
    for line in whole.split_inclusive(|byte| *byte == b'\n').skip(1) {
        let read: Line = serde_json::from_slice(line).unwrap();
        let written = serde_json::to_vec(&read).unwrap();
        let again: Line = serde_json::from_slice(&written).unwrap();
        assert_eq!(format!("{again:?}"), format!("{read:?}"));
    }
}

/// A log, as a chat of `user` and `assistant` goes on from it.
///
/// - The chat has all messages of the log at its beginning, and adds no more than it may.
/// - What is in the file then is the whole chat: it can be read, and gives the result's messages.
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
    let before = saved::read(&path, bytes).unwrap();
    let said = |messages: &[Message]| {
        messages
            .iter()
            .map(|message| (message.name.clone(), message.content.clone()))
            .collect::<Vec<_>>()
    };
    let all = said(&result.history);
    assert!(all.starts_with(&said(&before.history)), "the history is no beginning");
    let most = before.history.len().max(before.before + 2 * TURNS) + 1;
    assert!(all.len() <= most, "{} messages, {most} at most", all.len());
    let after = saved::read(&path, &std::fs::read(&path).unwrap()).unwrap();
    assert_eq!(said(&after.history), all);
}

/// A model that always has the same answer.
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
