//! Anthropic's API over a real connection.

use cellblock_agents::{FinishReason, ModelClient as _, ModelError, Usage};
use cellblock_models::{Anthropic, Connection};
use serde_json::{Value, json};

use crate::http_server::*;

fn client(server: &Server) -> Anthropic {
    Anthropic {
        base_url: server.url("/v1"),
        key: Some("sesame".into()),
        connection: Connection::new(quick()),
        ..Anthropic::new("claude-sonnet-4-5")
    }
}

/// Returns events as the API writes them: each with its name.
fn named_events(data: &[Value]) -> axum::response::Response {
    let event = |data: &Value| {
        format!("event: {}\ndata: {data}\n\n", data["type"].as_str().unwrap_or_default())
    };
    pieces("text/event-stream; charset=utf-8", data.iter().map(event).collect(), End::Whole)
}

fn message() -> Value {
    json!({"type": "message", "model": "claude-sonnet-4-5-20250929",
        "content": [{"type": "text", "text": "hello"}], "stop_reason": "end_turn",
        "usage": {"input_tokens": 1000, "output_tokens": 100}})
}

#[tokio::test]
async fn a_whole_answer() {
    let server = Server::start(|_, _| as_json(200, &message())).await;
    let completion = client(&server).complete(&hello(), None).await.unwrap();
    assert_eq!((completion.content.as_str(), completion.finish), ("hello", FinishReason::Stop));
    assert_eq!(completion.usage, Usage { prompt_tokens: 1000, completion_tokens: 100 });
    // 3 and 15 dollars a million.
    assert!((completion.cost - 0.0045).abs() < 1e-12, "{}", completion.cost);
    let request = &server.requests()[0];
    assert_eq!(request.uri.path(), "/v1/messages");
    assert_eq!(request.headers["x-api-key"], "sesame");
    assert_eq!(request.headers["anthropic-version"], "2023-06-01");
    assert!(!request.headers.contains_key("authorization"));
    assert_eq!(request.body["max_tokens"], 4096);
}

#[tokio::test]
async fn a_streamed_answer() {
    let server = Server::start(|_, _| {
        let start = |index: u64, block: Value| {
            json!({"type": "content_block_start", "index": index, "content_block": block})
        };
        let delta = |index: u64, delta: Value| {
            json!({"type": "content_block_delta", "index": index, "delta": delta})
        };
        named_events(&[
            json!({"type": "message_start", "message": {"model": "claude-x",
                "usage": {"input_tokens": 25, "output_tokens": 1}}}),
            start(0, json!({"type": "text", "text": ""})),
            json!({"type": "ping"}),
            delta(0, json!({"type": "text_delta", "text": "I "})),
            delta(0, json!({"type": "text_delta", "text": "add."})),
            json!({"type": "content_block_stop", "index": 0}),
            start(1, json!({"type": "tool_use", "id": "t1", "name": "add", "input": {}})),
            delta(1, json!({"type": "input_json_delta", "partial_json": "{\"a\":1}"})),
            json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"},
                "usage": {"output_tokens": 15}}),
            json!({"type": "message_stop"}),
        ])
    })
    .await;
    let (sink, heard) = listener();
    let completion = client(&server).complete(&hello(), Some(&sink)).await.unwrap();
    assert_eq!(*heard.lock().unwrap(), ["I ", "add."]);
    assert_eq!(
        (completion.content.as_str(), completion.finish),
        ("I add.", FinishReason::ToolCalls)
    );
    assert_eq!(completion.tool_calls[0].arguments, "{\"a\":1}");
    assert_eq!(completion.usage, Usage { prompt_tokens: 25, completion_tokens: 15 });
    assert_eq!(server.requests()[0].body["stream"], true);
}

#[tokio::test]
async fn an_overload_is_retried_and_a_wrong_key_is_not() {
    let failure = |kind: &str| json!({"type": "error", "error": {"type": kind, "message": "no"}});
    let server = Server::start(move |number, _| match number {
        0 => as_json(529, &failure("overloaded_error")),
        1 => named_events(&[failure("overloaded_error")]),
        _ => as_json(200, &message()),
    })
    .await;
    let (sink, heard) = listener();
    assert_eq!(client(&server).complete(&hello(), Some(&sink)).await.unwrap().content, "hello");
    assert_eq!((heard.lock().unwrap().concat().as_str(), server.count()), ("hello", 3));

    let server = Server::start(move |_, _| as_json(401, &failure("authentication_error"))).await;
    assert!(matches!(
        client(&server).complete(&hello(), None).await,
        Err(ModelError::Unauthorized { .. })
    ));
    assert_eq!(server.count(), 1);
    let keyless = Anthropic { key: None, ..client(&server) };
    let error = keyless.complete(&hello(), None).await.unwrap_err();
    assert!(
        matches!(&error, ModelError::NoKey { variable, .. } if variable == "ANTHROPIC_API_KEY"),
        "{error}"
    );
    assert_eq!(server.count(), 1);
}

#[tokio::test]
async fn a_stream_that_breaks_keeps_the_received_text() {
    let start = json!({"type": "content_block_start", "index": 0,
        "content_block": {"type": "text", "text": "hel"}});
    let server = Server::start(move |_, _| events(std::slice::from_ref(&start), End::Cut)).await;
    let (sink, _) = listener();
    let error = client(&server).complete(&hello(), Some(&sink)).await.unwrap_err();
    assert!(
        matches!(&error, ModelError::Interrupted { received, .. } if received == "hel"),
        "{error:?}"
    );
}
