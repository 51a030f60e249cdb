//! Failures of servers, and the errors that they become.

use std::time::{Duration, Instant};

use cellblock_agents::{Completion, ModelClient as _, ModelError};
use cellblock_models::{Connection, OpenAi};
use serde_json::json;

use crate::http_server::*;

async fn ask(server: &Server) -> Result<Completion, ModelError> {
    server.openai().complete(&hello(), None).await
}

fn refusal(status: u16, message: &str) -> axum::response::Response {
    as_json(status, &json!({"error": {"message": message, "type": "some_error"}}))
}

#[tokio::test]
async fn a_refused_key_is_not_retried() {
    for status in [401, 403] {
        let server = Server::start(move |_, _| refusal(status, "no such key")).await;
        let error = ask(&server).await.unwrap_err();
        assert!(
            matches!(&error, ModelError::Unauthorized { message, .. } if message == "no such key"),
            "{error}"
        );
        assert_eq!(server.count(), 1);
    }
}

#[tokio::test]
async fn transient_failures_are_retried() {
    for status in [408, 429, 500, 502, 503, 529] {
        let server =
            Server::start(
                move |number, _| {
                    if number < 2 { refusal(status, "busy") } else { completion("hi") }
                },
            )
            .await;
        assert_eq!(ask(&server).await.unwrap().content, "hi", "{status}");
        assert_eq!(server.count(), 3);
    }
    // Control: a persistent failure ends after the maximum of retries, a permanent one at once.
    for (status, times) in [(500, 3), (400, 1), (404, 1)] {
        let server = Server::start(move |_, _| refusal(status, "no")).await;
        let error = ask(&server).await.unwrap_err();
        assert!(matches!(&error, ModelError::Status { status: found, message, .. }
                if *found == status && message == "no"));
        assert_eq!(server.count(), times, "{status}");
    }
}

#[tokio::test]
async fn a_wait_that_the_provider_asks_for_is_respected() {
    let limited = |wait: &str| {
        let mut response = refusal(429, "slow down");
        response.headers_mut().insert("retry-after", wait.parse().unwrap());
        response
    };
    let server =
        Server::start(move |number, _| if number == 0 { limited("1") } else { completion("hi") })
            .await;
    let start = Instant::now();
    assert_eq!(ask(&server).await.unwrap().content, "hi");
    assert!(start.elapsed() >= Duration::from_millis(990), "{:?}", start.elapsed());

    // A date in the past asks for no wait.
    let date = "Wed, 21 Oct 2015 07:28:00 GMT";
    let server =
        Server::start(move |number, _| if number == 0 { limited(date) } else { completion("hi") })
            .await;
    assert_eq!(ask(&server).await.unwrap().content, "hi");

    // Longer than the maximum (2 seconds here): the call fails at once, and the error has the wait.
    let server = Server::start(move |_, _| limited("3600")).await;
    let start = Instant::now();
    let error = ask(&server).await.unwrap_err();
    let hour = Some(Duration::from_secs(3600));
    assert!(
        matches!(&error, ModelError::RateLimited { retry_after, .. } if *retry_after == hour),
        "{error}"
    );
    assert_eq!(server.count(), 1);
    assert!(start.elapsed() < Duration::from_secs(60));
}

#[tokio::test]
async fn an_empty_account_is_not_retried() {
    let body = json!({"error": {"message": "You exceeded your current quota",
        "code": "insufficient_quota"}});
    let server = Server::start(move |_, _| as_json(429, &body)).await;
    assert!(matches!(ask(&server).await, Err(ModelError::RateLimited { .. })));
    assert_eq!(server.count(), 1);
}

#[tokio::test]
async fn a_conversation_that_is_too_long_has_its_own_error() {
    let body = json!({"error": {"message": "maximum context length is 8192 tokens",
        "code": "context_length_exceeded"}});
    let server = Server::start(move |_, _| as_json(400, &body)).await;
    assert!(matches!(ask(&server).await, Err(ModelError::TooLong { .. })));
    assert_eq!(server.count(), 1);
}

#[tokio::test]
async fn a_stream_that_breaks_keeps_the_received_text_and_is_not_retried() {
    for end in [End::Cut, End::Whole] {
        let server =
            Server::start(move |_, _| events(&[chunk(&json!({"content": "hel"}))], end)).await;
        let (sink, heard) = listener();
        let error = server.openai().complete(&hello(), Some(&sink)).await.unwrap_err();
        assert!(
            matches!(&error, ModelError::Interrupted { received, .. } if received == "hel"),
            "{error:?}"
        );
        assert_eq!(heard.lock().unwrap().concat(), "hel");
        assert_eq!(server.count(), 1);
    }
    // Control: without any text it is retried.
    let server = Server::start(
        |number, _| if number == 0 { events(&[], End::Cut) } else { streamed(&["hi"]) },
    )
    .await;
    let (sink, heard) = listener();
    assert_eq!(server.openai().complete(&hello(), Some(&sink)).await.unwrap().content, "hi");
    assert_eq!((heard.lock().unwrap().concat().as_str(), server.count()), ("hi", 2));
}

#[tokio::test]
async fn a_body_that_breaks_is_retried() {
    let server = Server::start(|number, _| match number {
        0 => pieces("application/json", vec![r#"{"choices": [{"mess"#.to_owned()], End::Cut),
        _ => completion("hi"),
    })
    .await;
    assert_eq!(ask(&server).await.unwrap().content, "hi");
    assert_eq!(server.count(), 2);
}

#[tokio::test]
async fn an_error_in_the_middle_of_a_stream_is_reported() {
    let failure = json!({"error": {"message": "the GPU burns", "code": 502}});
    let server = Server::start(move |number, _| match number {
        0 => events(&[chunk(&json!({"content": "hel"})), failure.clone()], End::Whole),
        1 => events(std::slice::from_ref(&failure), End::Whole),
        _ => streamed(&["hi"]),
    })
    .await;
    let (sink, _) = listener();
    let error = server.openai().complete(&hello(), Some(&sink)).await.unwrap_err();
    let ModelError::Interrupted { received, source: Some(source), .. } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(received, "hel");
    assert!(source.to_string().contains("the GPU burns"), "{source}");
    assert_eq!(server.openai().complete(&hello(), Some(&sink)).await.unwrap().content, "hi");
}

#[tokio::test]
async fn invalid_answers_are_refused_with_a_hint() {
    for (kind, body, says) in [
        ("application/json", "{\"choices\": [", "EOF"),
        ("application/json", "{\"choices\": []}", "no choices"),
        ("application/json", "{}", "no choices"),
        ("application/json", "[1, 2]", "begins: [1, 2]"),
        ("application/json", "", "empty"),
        ("application/json", " \n", "empty"),
        ("text/html", "<!doctype html><title>Welcome</title>", "base address"),
        ("text/plain", "\u{0}\u{1}", "begins"),
    ] {
        let server = Server::start(move |_, _| answer(200, kind, body)).await;
        let error = ask(&server).await.unwrap_err();
        assert!(
            matches!(&error, ModelError::Malformed { what, .. } if what.contains(says)),
            "{body:?}: {error}"
        );
        assert_eq!(server.count(), 1, "{body:?}");
    }
    for (body, says) in [
        ("data: {broken\n\n", "begins: {broken"),
        ("data: <html>\n\n", "web page"),
        ("data: \u{0}\n\n", "begins"),
    ] {
        let server = Server::start(move |_, _| answer(200, "text/event-stream", body)).await;
        let (sink, _) = listener();
        let error = server.openai().complete(&hello(), Some(&sink)).await.unwrap_err();
        assert!(
            matches!(&error, ModelError::Malformed { what, .. } if what.contains(says)),
            "{body:?}: {error}"
        );
    }
    // A web page instead of a stream; bytes that are not text.
    let server = Server::start(|_, _| answer(200, "text/html; charset=utf-8", "<html>hello")).await;
    let (sink, _) = listener();
    let error = server.openai().complete(&hello(), Some(&sink)).await.unwrap_err();
    assert!(
        matches!(&error, ModelError::Malformed { what, .. } if what.contains("web page")),
        "{error}"
    );
    let server = Server::start(|_, _| {
        answer(200, "text/event-stream", vec![b'd', b'a', b't', b'a', b':', 0xff, b'\n', b'\n'])
    })
    .await;
    let (sink, _) = listener();
    assert!(matches!(
        server.openai().complete(&hello(), Some(&sink)).await,
        Err(ModelError::Malformed { .. })
    ));
}

#[tokio::test]
async fn arguments_of_10_megabytes_arrive_whole() {
    let arguments = format!("{{\"text\":\"{}\"}}", "x".repeat(10 << 20));
    let expected = arguments.len();
    let server = Server::start(move |_, request| {
        let function = json!({"name": "save", "arguments": arguments});
        let call = json!({"index": 0, "id": "c1", "function": function});
        if request.body["stream"] == true {
            let end = json!({"choices": [{"finish_reason": "tool_calls"}]});
            events(&[chunk(&json!({"tool_calls": [call]})), end], End::Whole)
        } else {
            let choice = json!({"message": {"tool_calls": [call]}, "finish_reason": "tool_calls"});
            as_json(200, &json!({"choices": [choice]}))
        }
    })
    .await;
    let (sink, _) = listener();
    for on_text in [None, Some(&sink)] {
        let completion = server.openai().complete(&hello(), on_text).await.unwrap();
        assert_eq!(completion.tool_calls[0].arguments.len(), expected);
    }
}

#[tokio::test]
async fn a_port_without_a_listener_is_an_error_at_once() {
    let listening = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listening.local_addr().unwrap());
    drop(listening);
    let client = OpenAi::new(format!("{address}/v1"), "m");
    let start = Instant::now();
    let error = client.complete(&hello(), None).await.unwrap_err();
    assert!(
        matches!(&error, ModelError::Connect { address: found, .. } if *found == address),
        "{error:?}"
    );
    assert!(error.is_transient());
    // On this machine without the waits of the default bounds.
    assert!(start.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn a_server_without_tls_cannot_be_reached_over_https() {
    let server = Server::start(|_, _| completion("hi")).await;
    let client = OpenAi { base_url: format!("https://{}/v1", server.address), ..server.openai() };
    let error = client.complete(&hello(), None).await.unwrap_err();
    assert!(
        matches!(&error, ModelError::Connect { address, .. } if address.starts_with("https://")),
        "{error:?}"
    );
    assert_eq!(server.count(), 0);
}

#[tokio::test]
async fn a_connection_that_closes_silently_is_retried() {
    let listening = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/v1", listening.local_addr().unwrap());
    let closing = tokio::spawn(async move {
        let mut times = 0;
        while let Ok((stream, _)) = listening.accept().await {
            drop(stream);
            times += 1;
            if times == 3 {
                break;
            }
        }
        times
    });
    let client = OpenAi { connection: Connection::new(quick()), ..OpenAi::new(address, "m") };
    let error = client.complete(&hello(), None).await.unwrap_err();
    assert!(
        matches!(&error, ModelError::Interrupted { received, .. } if received.is_empty()),
        "{error:?}"
    );
    assert_eq!(tokio::time::timeout(Duration::from_secs(30), closing).await.unwrap().unwrap(), 3);
}

#[tokio::test]
async fn redirects_are_not_followed_and_carry_no_key() {
    let elsewhere = Server::start(|_, _| completion("stolen")).await;
    for status in [301, 302, 307, 308] {
        let target = elsewhere.url("/v1/chat/completions");
        let location = target.clone();
        let server = Server::start(move |_, _| {
            let mut response = answer(status, "text/plain", "");
            response.headers_mut().insert("location", target.parse().unwrap());
            response
        })
        .await;
        let client = OpenAi { key: Some("sesame".into()), ..server.openai() };
        let error = client.complete(&hello(), None).await.unwrap_err();
        assert!(
            matches!(&error, ModelError::Status { message, .. } if message.contains(&location)),
            "{error}"
        );
        assert_eq!(server.count(), 1);
    }
    assert_eq!(elsewhere.count(), 0);
}

#[tokio::test]
async fn invalid_addresses_are_refused() {
    for base in ["", "localhost:8080", "ftp://127.0.0.1/", "http://me:sesame@127.0.0.1/v1"] {
        let error = OpenAi::new(base, "m").complete(&hello(), None).await.unwrap_err();
        assert!(
            matches!(&error, ModelError::Start { .. }) && !error.to_string().contains("sesame"),
            "{base}: {error}"
        );
    }
}
