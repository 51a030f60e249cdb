//! Ollama's API over a real connection.

use cellblock_agents::{FinishReason, ModelClient as _, ModelError, Usage};
use cellblock_models::{Connection, Ollama};
use serde_json::{Value, json};

use crate::http_server::*;

fn client(server: &Server) -> Ollama {
    Ollama {
        base_url: server.url("/"),
        connection: Connection::new(quick()),
        ..Ollama::new("llama3")
    }
}

fn line(text: &str) -> Value {
    json!({"model": "llama3", "message": {"role": "assistant", "content": text}, "done": false})
}

fn end() -> Value {
    json!({"model": "llama3", "message": {"role": "assistant", "content": ""}, "done": true,
        "done_reason": "stop", "prompt_eval_count": 26, "eval_count": 9})
}

/// Returns lines of JSON, in pieces that end anywhere.
fn lines(all: &[Value], kind: &str, stop: End) -> axum::response::Response {
    let text: String = all.iter().map(|line| format!("{line}\n")).collect();
    let bytes: Vec<String> = text
        .as_bytes()
        .chunks(7)
        .map(|piece| String::from_utf8_lossy(piece).into_owned())
        .collect();
    pieces(kind, bytes, stop)
}

#[tokio::test]
async fn a_streamed_answer() {
    let server = Server::start(|_, _| {
        lines(&[line("he"), line("llo"), end()], "application/x-ndjson", End::Whole)
    })
    .await;
    let (sink, heard) = listener();
    let completion = client(&server).complete(&hello(), Some(&sink)).await.unwrap();
    assert_eq!(*heard.lock().unwrap(), ["he", "llo"]);
    assert_eq!((completion.content.as_str(), completion.finish), ("hello", FinishReason::Stop));
    assert_eq!(completion.usage, Usage { prompt_tokens: 26, completion_tokens: 9 });
    assert_eq!(completion.cost, 0.0);
    let request = &server.requests()[0];
    assert_eq!(request.uri.path(), "/api/chat");
    assert_eq!(request.body["stream"], true);
    assert!(!request.headers.contains_key("authorization"));
}

#[tokio::test]
async fn a_whole_answer_with_a_tool_call() {
    let server = Server::start(|_, _| {
        let call = json!({"function": {"name": "add", "arguments": {"a": 1}}});
        let message = json!({"role": "assistant", "content": "", "tool_calls": [call]});
        as_json(200, &json!({"message": message, "done": true}))
    })
    .await;
    let completion = client(&server).complete(&hello(), None).await.unwrap();
    assert_eq!(completion.finish, FinishReason::ToolCalls);
    assert_eq!(completion.tool_calls[0].arguments, "{\"a\":1}");
    assert_eq!(server.requests()[0].body["stream"], false);
}

#[tokio::test]
async fn the_error_for_a_missing_model_names_the_command_that_installs_it() {
    let server =
        Server::start(|_, _| as_json(404, &json!({"error": "model 'llama3' not found"}))).await;
    let error = client(&server).complete(&hello(), None).await.unwrap_err();
    assert!(error.to_string().contains("ollama pull llama3"), "{error}");
    assert_eq!(server.count(), 1);
}

#[tokio::test]
async fn streams_that_break_keep_the_received_text() {
    for (all, stop) in [
        (vec![line("hel")], End::Cut),
        (vec![line("hel")], End::Whole),
        (vec![line("hel"), json!({"error": "out of memory"})], End::Whole),
    ] {
        let server = Server::start(move |_, _| lines(&all, "application/x-ndjson", stop)).await;
        let (sink, _) = listener();
        let error = client(&server).complete(&hello(), Some(&sink)).await.unwrap_err();
        assert!(
            matches!(&error, ModelError::Interrupted { received, .. } if received == "hel"),
            "{error:?}"
        );
    }
    let server =
        Server::start(|_, _| lines(&[json!("x")], "application/x-ndjson", End::Whole)).await;
    let (sink, _) = listener();
    assert!(matches!(
        client(&server).complete(&hello(), Some(&sink)).await,
        Err(ModelError::Malformed { .. })
    ));
}
