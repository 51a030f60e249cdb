//! The oracle on recordings that are nearly valid.

use proptest::{collection::vec, prelude::*, sample::select};

use super::*;

const LINES: [&str; 10] = [
    r#"{"model":"m","match":{},"completion":{"content":"ü"}}"#,
    r#"{"model":"m","match":{"last":["a","b"],"from":"user"},"completion":{"content":["a","b"]}}"#,
    r#"{"model":"m","match":{"system":"s","any":"x"},"completion":{"content":"","cost":0.1}}"#,
    r#"{"model":"m","request":{"system":"s","messages":[],"parameters":{}},
        "error":{"kind":"timeout","after":1e30}}"#,
    r#"{"model":"m","match":{},"error":{"kind":"rate_limited","message":"","retry_after":0.3}}"#,
    r#"{"model":"m","match":{},"error":{"kind":"interrupted","received":"half"}}"#,
    r#"{"model":"m","match":{},"error":{"kind":"status","status":500,"message":"no"}}"#,
    r#"{"model":"m","match":{},
        "completion":{"tool_calls":[{"id":"1","name":"a","arguments":"{}"}]}}"#,
    r#"{"model":"m","request":{},"completion":{"content":"x",
        "usage":{"prompt_tokens":18446744073709551615,"completion_tokens":1}}}"#,
    r#"{"model":"m"}"#,
];

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 500,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn recordings_keep_their_invariants(
        made in select(vec!["recorded", "by hand"]),
        lines in vec(select(&LINES[..9]), 0..8),
        cut in 0..60_usize,
    ) {
        let mut text = format!("{{\"cellblock_recording\":1,\"made\":\"{made}\"}}\n");
        lines.iter().for_each(|line| text.extend([line, "\n"]));
        let mut bytes = text.into_bytes();
        bytes.truncate(bytes.len() - cut.saturating_sub(40).min(bytes.len()));
        recording(&bytes);
    }
}

/// Control: each of these lines except the last makes a valid recording.
#[test]
fn the_oracle_reaches_what_it_checks() {
    for line in LINES {
        let text = format!("{{\"cellblock_recording\":1,\"made\":\"by hand\"}}\n{line}\n");
        assert_eq!(parse::recording(text.as_bytes()).is_ok(), line != LINES[9], "{line}");
        recording(text.as_bytes());
    }
}
