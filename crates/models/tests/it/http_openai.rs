//! Chat completions over a real connection.

use std::{num::NonZeroU32, time::Instant};

use cellblock_agents::{FinishReason, ModelClient as _, ModelError, Usage};
use cellblock_models::{Connection, KeyPlace, OpenAi, Price, Transport};
use serde_json::json;

use crate::http_server::*;

fn assert_same(left: f64, right: f64) {
    assert!((left - right).abs() < 1e-12, "{left} is not {right}");
}

#[tokio::test]
async fn case_37_what_a_call_costs() {
    let server = Server::start(|_, _| completion("hi")).await;
    let known = server.openai().complete(&hello(), None).await.unwrap();
    assert_eq!(known.usage, Usage { prompt_tokens: 100, completion_tokens: 10 });
    assert_same(known.cost, 0.0036);
    let priced =
        OpenAi { price: Some(Price::per_thousand([1.0, 2.0]).unwrap()), ..server.openai() };
    assert_same(priced.complete(&hello(), None).await.unwrap().cost, 0.12);

    let unknown = Server::start(|_, _| {
        as_json(
            200,
            &json!({"choices": [{"message": {"content": "hi"}}], "usage": {"prompt_tokens": 100}}),
        )
    })
    .await;
    let client = OpenAi { model: "nobody-knows-this".to_owned(), ..unknown.openai() };
    assert_same(client.complete(&hello(), None).await.unwrap().cost, 0.0);
}

#[tokio::test]
async fn without_a_listener_the_answer_arrives_whole() {
    let server = Server::start(|_, _| completion("hi")).await;
    let client = OpenAi { key: Some("sesame".into()), ..server.openai() };
    let completion = client.complete(&hello(), None).await.unwrap();
    assert_eq!((completion.content.as_str(), completion.model.as_str()), ("hi", "gpt-4-0613"));
    let request = &server.requests()[0];
    assert_eq!(request.uri.path(), "/v1/chat/completions");
    assert_eq!(request.headers["authorization"], "Bearer sesame");
    assert_eq!(request.headers["content-type"], "application/json");
    assert_eq!(
        request.body,
        json!({"model": "gpt-4", "messages": [{"role": "user", "content": "hello"}]})
    );
}

#[tokio::test]
async fn with_a_listener_the_answer_is_streamed() {
    let server = Server::start(|_, _| streamed(&["he", "llo ", "wörld"])).await;
    let (sink, heard) = listener();
    let completion = server.openai().complete(&hello(), Some(&sink)).await.unwrap();
    assert_eq!(completion.content, "hello wörld");
    assert_eq!(*heard.lock().unwrap(), ["he", "llo ", "wörld"]);
    assert_eq!(completion.usage, Usage { prompt_tokens: 100, completion_tokens: 10 });
    assert_same(completion.cost, 0.0036);
    let body = &server.requests()[0].body;
    assert_eq!(
        (&body["stream"], &body["stream_options"]),
        (&json!(true), &json!({"include_usage": true}))
    );
}

#[tokio::test]
async fn events_may_be_split_anywhere() {
    let text = format!("data: {}\r\n\r\ndata: [DONE]\r\n\r\n", chunk(&json!({"content": "wörld"})));
    let server = Server::start(move |_, _| {
        let bytes = text.as_bytes().iter().map(|byte| Ok::<_, std::io::Error>(vec![*byte]));
        let body =
            axum::body::Body::from_stream(futures_util::stream::iter(bytes.collect::<Vec<_>>()));
        answer(200, "text/event-stream; charset=utf-8", body)
    })
    .await;
    let (sink, heard) = listener();
    assert_eq!(server.openai().complete(&hello(), Some(&sink)).await.unwrap().content, "wörld");
    assert_eq!(heard.lock().unwrap().concat(), "wörld");
}

#[tokio::test]
async fn servers_that_do_not_stream_are_supported() {
    let server = Server::start(|_, _| completion("hi")).await;
    for stream in [true, false] {
        let (sink, heard) = listener();
        let client = OpenAi { stream, ..server.openai() };
        assert_eq!(client.complete(&hello(), Some(&sink)).await.unwrap().content, "hi");
        assert_eq!(*heard.lock().unwrap(), ["hi"]);
    }
    assert_eq!(server.requests()[0].body["stream"], true);
    assert_eq!(server.requests()[1].body.get("stream"), None);
}

#[tokio::test]
async fn tool_calls_are_streamed_too() {
    let server = Server::start(|_, _| {
        let call = |call| chunk(&json!({"tool_calls": [call]}));
        events(
            &[
                call(json!({"index": 0, "id": "c1", "type": "function",
                    "function": {"name": "add", "arguments": ""}})),
                call(json!({"index": 0, "function": {"arguments": "{\"a\":"}})),
                call(json!({"index": 0, "function": {"arguments": "1}"}})),
                json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}),
            ],
            End::Whole,
        )
    })
    .await;
    let (sink, heard) = listener();
    let completion = server.openai().complete(&hello(), Some(&sink)).await.unwrap();
    assert_eq!(completion.finish, FinishReason::ToolCalls);
    assert_eq!(completion.tool_calls[0].arguments, "{\"a\":1}");
    assert!(heard.lock().unwrap().is_empty());
}

#[tokio::test]
async fn azure_has_its_own_header_and_version() {
    let server = Server::start(|_, _| completion("hi")).await;
    let client = OpenAi {
        base_url: server.url("/openai/deployments/mine"),
        key: Some("sesame".into()),
        key_place: KeyPlace::ApiKey,
        query: vec![("api-version".to_owned(), "2024-10-21".to_owned())],
        headers: vec![("x-title".to_owned(), "cellblock".into())],
        ..server.openai()
    };
    client.complete(&hello(), None).await.unwrap();
    let request = &server.requests()[0];
    assert_eq!(request.uri, "/openai/deployments/mine/chat/completions?api-version=2024-10-21");
    assert_eq!(request.headers["api-key"], "sesame");
    assert_eq!(request.headers["x-title"], "cellblock");
    assert!(!request.headers.contains_key("authorization"));
}

#[tokio::test]
async fn no_key_is_an_error_before_anything_is_sent() {
    let server = Server::start(|_, _| completion("hi")).await;
    let client = OpenAi { key_variable: Some("ACME_KEY".to_owned()), ..server.openai() };
    let error = client.complete(&hello(), None).await.unwrap_err();
    assert!(
        matches!(&error, ModelError::NoKey { variable, .. } if variable == "ACME_KEY"),
        "{error}"
    );
    assert_eq!(server.count(), 0);
    // Control: with a key the request is sent. OpenAI itself is known to require one.
    OpenAi { key: Some("sesame".into()), ..client }.complete(&hello(), None).await.unwrap();
    assert_eq!(server.count(), 1);
    let error = OpenAi::new("https://api.openai.com/v1", "gpt-4o")
        .complete(&hello(), None)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("OPENAI_API_KEY"), "{error}");
}

#[tokio::test]
async fn calls_are_fast() {
    let server = Server::start(|_, request| {
        if request.body["stream"] == true { streamed(&["hi"]) } else { completion("hi") }
    })
    .await;
    let client = server.openai();
    let (sink, _) = listener();
    client.complete(&hello(), None).await.unwrap();
    let start = Instant::now();
    for _ in 0..50 {
        client.complete(&hello(), None).await.unwrap();
        client.clone().complete(&hello(), Some(&sink)).await.unwrap();
    }
    let each = start.elapsed() / 100;
    // On this machine each call has its own connection: some servers close one silently.
    assert_eq!(server.connections(), 101);
    // Generous: the test only excludes a wait for something.
    assert!(each.as_millis() < 40, "{each:?}");
}

#[tokio::test]
async fn a_rate_limit_is_kept_and_shared() {
    let server = Server::start(|_, _| completion("hi")).await;
    let transport = Transport { requests_per_minute: NonZeroU32::new(300), ..quick() };
    let one = OpenAi { connection: Connection::new(transport), ..server.openai() };
    let other = OpenAi { model: "other".to_owned(), ..one.clone() };
    let (request, start) = (hello(), Instant::now());
    let (a, b, c) = tokio::join!(
        one.complete(&request, None),
        other.complete(&request, None),
        one.complete(&request, None)
    );
    assert!(a.is_ok() && b.is_ok() && c.is_ok());
    // 300 a minute are a fifth of a second apart.
    assert!(start.elapsed().as_millis() >= 390, "{:?}", start.elapsed());
}
