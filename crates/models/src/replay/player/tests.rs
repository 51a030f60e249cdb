use std::sync::Arc;

use cellblock_agents::{FinishReason, ModelMessage};
use parking_lot::Mutex;

use super::*;

fn asked(system: &str, last: &str) -> ModelRequest {
    let messages = vec![ModelMessage::User { name: Some("user".to_owned()), content: last.into() }];
    ModelRequest { system: system.to_owned(), messages, ..ModelRequest::default() }
}

fn recording(lines: &[&str]) -> String {
    format!("{{\"cellblock_recording\":1,\"made\":\"by hand\"}}\n{}\n", lines.join("\n"))
}

async fn answer(replay: &Replay, request: &ModelRequest) -> String {
    replay
        .complete(request, None)
        .await
        .map_or_else(|error| error.to_string(), |completion| completion.content)
}

#[tokio::test]
async fn each_exchange_answers_once_and_in_order() {
    let text = recording(&[
        r#"{"model":"gpt-4","provider":"openai","match":{"last":"joke"},
            "completion":{"content":"one"}}"#,
        r#"{"model":"gpt-4","match":{"last":["bad","joke"],"system":"funny","from":"user"},
            "completion":{"content":["two","lines"]}}"#,
        r#"{"model":"gpt-4","match":{},"completion":{"content":"anything"}}"#,
    ]);
    let replay = Replay::from_text(&text).unwrap();
    assert_eq!(
        (replay.name(), replay.provider(), replay.sees_images(), replay.remaining()),
        ("gpt-4", "openai", false, 3)
    );
    let request = asked("be funny", "a bad joke");
    assert_eq!(answer(&replay, &request).await, "one");
    assert_eq!(answer(&replay, &request).await, "two\nlines");
    assert_eq!(answer(&replay, &request).await, "anything");
    let error = answer(&replay, &request).await;
    assert!(error.contains("a bad joke") && error.contains("all 3 of its answers"), "{error}");
    assert_eq!(replay.remaining(), 0);
}

#[tokio::test]
async fn an_exact_request_precedes_a_matching_pattern() {
    let request = asked("s", "hello");
    let json = serde_json::to_string(&request).unwrap();
    let text = recording(&[
        r#"{"model":"m","match":{"last":"hello"},"completion":{"content":"pattern"}}"#,
        &format!(r#"{{"model":"m","request":{json},"completion":{{"content":"exact"}}}}"#),
    ]);
    let replay = Replay::from_text(&text).unwrap();
    assert_eq!(answer(&replay, &request).await, "exact");
    assert_eq!(answer(&replay, &request).await, "pattern");
}

#[tokio::test]
async fn a_mismatch_is_refused_and_explained() {
    let recorded = serde_json::to_string(&asked("s", "what is 1 + 1?")).unwrap();
    let text = recording(&[
        r#"{"model":"m","match":{"system":"poet","last":"rhyme"},"completion":{"content":"x"}}"#,
        &format!(r#"{{"model":"m","request":{recorded},"completion":{{"content":"2"}}}}"#),
    ]);
    let replay = Replay::from_text(&text).unwrap();
    let error = replay.complete(&asked("s", "what is 1 + 2?"), None).await.unwrap_err();
    assert!(matches!(error, ModelError::Unanswered(_)));
    let error = error.to_string();
    assert!(
        error.contains(r#"expects message 1 to be "what is 1 + 1?", not "what is 1 + 2?""#),
        "{error}"
    );
    let error = answer(&replay, &asked("you are a poet", "tell me more")).await;
    assert!(
        error.contains(r#"expects "rhyme" in the last message and "poet" in the system message"#),
        "{error}"
    );
    // Control: no exchange was used.
    assert_eq!(answer(&replay, &asked("s", "what is 1 + 1?")).await, "2");
}

#[tokio::test]
async fn failures_and_tool_calls_are_replayed() {
    let text = recording(&[
        r#"{"model":"m","provider":"p","match":{},
            "error":{"kind":"rate_limited","message":"slow down","retry_after":2.5}}"#,
        r#"{"model":"m","match":{},"error":{"kind":"interrupted","received":"half an ans"}}"#,
        r#"{"model":"m","match":{},
            "completion":{"tool_calls":[{"id":"1","name":"add","arguments":"{}"}]}}"#,
    ]);
    let replay = Replay::from_text(&text).unwrap();
    let heard = Arc::new(Mutex::new(String::new()));
    let sink: TextSink = {
        let heard = heard.clone();
        Arc::new(move |text: &str| heard.lock().push_str(text))
    };
    let request = asked("", "x");
    let error = replay.complete(&request, Some(&sink)).await.unwrap_err();
    assert_eq!(error.to_string(), "rate limit of p reached: slow down (retry in 3 s)");
    let error = replay.complete(&request, Some(&sink)).await.unwrap_err();
    assert!(matches!(error, ModelError::Interrupted { .. }));
    assert_eq!(*heard.lock(), "half an ans");
    let completion = replay.complete(&request, Some(&sink)).await.unwrap();
    assert_eq!((completion.finish, completion.model.as_str()), (FinishReason::ToolCalls, "m"));
}

#[test]
fn files_that_are_not_recordings_are_refused() {
    let good = r#"{"model":"m","match":{},"completion":{"content":"x"}}"#;
    for (text, why) in [
        (String::new(), "does not start with a line"),
        ("hello".to_owned(), "does not start with a line"),
        ("{\"a\":1}".to_owned(), "does not start with a line"),
        ("{\"cellblock_recording\":2,\"future\":true}".to_owned(), "its version is 2"),
        ("{\"cellblock_recording\":1,\"made\":\"up\"}".to_owned(), "its header is invalid"),
        (
            recording(&[
                good,
                r#"{"model":"m","match":{},"completion":{"content":"x"},"extra":1}"#,
            ]),
            "line 3: unknown field",
        ),
        (
            recording(&[good, "", r#"{"model":"m","completion":{"content":"x"}}"#]),
            "line 4: give either `request` or `match`",
        ),
        (
            recording(&[r#"{"model":"m","match":{}}"#]),
            "line 2: give either `completion` or `error`",
        ),
        (recording(&[r#"{"model":"m","match":{}"#]), "EOF"),
        (recording(&["nonsense"]), "line 2"),
    ] {
        let error = Replay::from_text(&text).unwrap_err().to_string();
        assert!(error.contains(why), "{text}: {error}");
    }
    assert!(Replay::from_text(&recording(&[good])).is_ok());
    // A file that a killed process left.
    let torn =
        format!("{{\"cellblock_recording\":1,\"made\":\"recorded\"}}\n{good}\n{}", &good[..20]);
    assert_eq!(Replay::from_text(&torn).unwrap().remaining(), 1);
}
