//! Recordings that stand for a model.

use serde_json::{Value, json};

use crate::command::TestDir;

/// Returns an exchange: `content` answers a request whose last message contains `last`. An empty
/// `last` matches any request.
pub fn answer(last: &str, content: &str) -> String {
    exchange(last, json!({"content": content}))
}

/// Returns an exchange with a whole completion.
pub fn exchange(last: &str, completion: Value) -> String {
    let pattern = if last.is_empty() { json!({}) } else { json!({"last": last}) };
    json!({"model": "m", "match": pattern, "completion": completion}).to_string()
}

/// Returns a directory with these exchanges in `answers.jsonl`.
pub fn recorded(exchanges: &[impl AsRef<str>]) -> TestDir {
    let dir = TestDir::new();
    let mut text = r#"{"cellblock_recording":1,"made":"by hand"}"#.to_owned() + "\n";
    for exchange in exchanges {
        text.push_str(exchange.as_ref());
        text.push('\n');
    }
    dir.write("answers.jsonl", text);
    dir
}
