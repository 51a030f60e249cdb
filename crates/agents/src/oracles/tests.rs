//! The oracles, on logs that are almost valid.

use proptest::{collection::vec, prelude::*, sample::select};

use super::*;

const LINES: [&str; 15] = [
    r#"{"cellblock_chat":1,"id":"x","agents":["user","assistant"],"opened":true}"#,
    r#"{"cellblock_chat":1,"id":"x","agents":["user","assistant"],"before":1}"#,
    r#"{"message":{"name":"user","content":"hello"}}"#,
    r#"{"message":{"name":"assistant","content":"a"},"auto_replies":[0,1],"sees_from":[1,9]}"#,
    r#"{"message":{"name":"user","content":[{"type":"text","text":"a"}]},"code_done":7}"#,
    concat!(
        r#"{"message":{"name":"user","content":""},"human":["b"],"#,
        r#""files":[{"path":"a","content":"!"}]}"#,
    ),
    r#"{"begun":{"code":"user"}}"#,
    r#"{"begun":{"tools":"assistant"}}"#,
    r#"{"begun":{"nested":"nobody"}}"#,
    r#"{"calling":{"agent":"user","name":"pay","arguments":"{}"}}"#,
    concat!(
        r#"{"tool":{"agent":"user","name":"pay","arguments":"{}","answer":"","#,
        r#""is_error":false,"from_code":true}}"#,
    ),
    r#"{"human":"more"}"#,
    r#"{"stopped":{"reason":"no_speaker"}}"#,
    concat!(
        r#"{"spent":{"usage_including_cached_inference":{"total_cost":1e300},"#,
        r#""usage_excluding_cached_inference":{"total_cost":0.1,"polite":{"cost":0.1,"#,
        r#""prompt_tokens":1,"completion_tokens":18446744073709551615,"#,
        r#""total_tokens":18446744073709551615}}}}"#,
    ),
    "{",
];

/// Lines of logs in any order, usually after a header, sometimes cut off.
fn log() -> impl Strategy<Value = Vec<u8>> {
    let line = select(&LINES[2..]);
    (prop::bool::weighted(0.9), 0..2_usize, vec(line, 0..12), 0..30_usize).prop_map(
        |(header, which, lines, cut)| {
            let header = header.then_some(LINES[which]);
            let mut log: String =
                header.into_iter().chain(lines).map(|line| format!("{line}\n")).collect();
            log.truncate(log.len() - cut.saturating_sub(15).min(log.len()));
            log.into_bytes()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 500,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_log_has_one_meaning(bytes in log()) {
        saved_chat(&bytes);
    }

    #[test]
    fn a_chat_continues_from_any_log_that_can_be_read(bytes in log()) {
        resumed_chat(&bytes);
    }
}

/// The control: most of these lines make a log that can be read.
#[test]
fn the_oracles_reach_what_they_check() {
    let log: String = [&LINES[..1], &LINES[2..5], &LINES[6..14]].concat().join("\n") + "\n{";
    let saved = read(Path::new("log"), log.as_bytes()).unwrap();
    assert_eq!((saved.history.len(), saved.valid_bytes as usize), (3, log.len() - 1));
    assert!(saved.pending_work.is_some());
    assert!(saved.started_calls.len() == 1 && saved.open_calls.is_empty());
}

#[test]
fn a_header_that_announces_more_messages_than_there_can_be_is_refused() {
    let header =
        r#"{"cellblock_chat":1,"id":"x","agents":[],"before":18446744073709551615,"opened":true}"#;
    let log = format!("{header}\n{}\n", LINES[2]);
    let error = read(Path::new("log"), log.as_bytes()).unwrap_err();
    assert!(cellblock_exec::with_causes(&error).contains("ended before its first message"));
}
