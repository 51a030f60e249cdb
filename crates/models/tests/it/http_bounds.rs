//! Bounds on time and size, and cancelled calls.

use std::time::Duration;

use axum::body::Body;
use cellblock_agents::{ModelClient as _, ModelError, TextSink};
use cellblock_models::{Connection, OpenAi, Transport};
use serde_json::json;

use crate::http_server::*;

#[tokio::test]
async fn an_answer_without_an_end_is_refused_when_it_is_too_large() {
    const MIB: &str = "the answer is larger than 1 MiB";
    let event = "data: {\"choices\":[{\"delta\":{\"content\":\"again and again \"}}]}\n\n";
    for piece in [event, "x", ": only a comment\n\n", "data: no line end "] {
        let server = Server::start(move |_, request| {
            let kind = if request.body["stream"] == true {
                "text/event-stream"
            } else {
                "application/json"
            };
            answer(200, kind, Body::from_stream(endless(piece.repeat(1024))))
        })
        .await;
        let connection = Connection::new(Transport { max_answer_bytes: 1 << 20, ..quick() });
        let client = OpenAi { connection, ..server.openai() };
        let (sink, _) = listener();
        for on_text in [None, Some(&sink)] {
            let error = client.complete(&hello(), on_text).await.unwrap_err();
            assert!(
                matches!(&error, ModelError::Malformed { what, .. } if what == MIB),
                "{piece}: {error:?}"
            );
        }
        assert_eq!(server.count(), 2);
    }
    // An endless body of an error does not delay the error.
    let server = Server::start(|_, _| {
        answer(400, "text/plain", Body::from_stream(endless("no ".repeat(1024))))
    })
    .await;
    assert!(matches!(
        server.openai().complete(&hello(), None).await,
        Err(ModelError::Status { status: 400, .. })
    ));
}

fn with(server: &Server, transport: Transport) -> OpenAi {
    OpenAi { connection: Connection::new(transport), ..server.openai() }
}

#[tokio::test]
async fn bounds_may_be_unlimited() {
    let server =
        Server::start(
            |number, _| if number == 0 { as_json(503, &json!({})) } else { streamed(&["hi"]) },
        )
        .await;
    let unlimited = Transport {
        timeout: Duration::MAX,
        idle_timeout: Duration::MAX,
        max_delay: Duration::MAX,
        ..quick()
    };
    let (sink, _) = listener();
    assert_eq!(
        with(&server, unlimited).complete(&hello(), Some(&sink)).await.unwrap().content,
        "hi"
    );
}

#[tokio::test]
async fn an_idle_connection_ends_an_answer() {
    let idle_timeout = Duration::from_millis(700);
    let server =
        Server::start(|_, _| events(&[chunk(&json!({"content": "hel"}))], End::Never)).await;
    let (sink, _) = listener();
    let client = with(&server, Transport { idle_timeout, ..quick() });
    let error = client.complete(&hello(), Some(&sink)).await.unwrap_err();
    let ModelError::Interrupted { received, source: Some(source), .. } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(received, "hel");
    assert!(source.to_string().contains("700ms"), "{source}");

    // Without any text the call is retried, and finally is a timeout.
    let server = Server::start(|_, _| events(&[], End::Never)).await;
    let client = with(&server, Transport { idle_timeout, ..quick() });
    let error = client.complete(&hello(), Some(&sink)).await.unwrap_err();
    assert!(
        matches!(&error, ModelError::Timeout { after, .. } if *after == idle_timeout),
        "{error:?}"
    );
    assert_eq!(server.count(), 3);
}

#[tokio::test]
async fn a_call_ends_in_time_whatever_the_server_does() {
    let timeout = Duration::from_millis(400);
    let listening = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mute = format!("http://{}/v1", listening.local_addr().unwrap());
    let client = OpenAi {
        connection: Connection::new(Transport { timeout, ..quick() }),
        ..OpenAi::new(mute, "m")
    };
    let error = client.complete(&hello(), None).await.unwrap_err();
    assert!(matches!(&error, ModelError::Timeout { after, .. } if *after == timeout), "{error:?}");

    // Retries do not extend it: there is no time for the wait that the provider asks for.
    let server = Server::start(|_, _| {
        let mut response = as_json(503, &json!({"error": {"message": "busy"}}));
        response.headers_mut().insert("retry-after", "30".parse().unwrap());
        response
    })
    .await;
    let transport = Transport {
        timeout: Duration::from_secs(20),
        max_delay: Duration::from_secs(60),
        ..quick()
    };
    let error = with(&server, transport).complete(&hello(), None).await.unwrap_err();
    assert!(matches!(&error, ModelError::Status { status: 503, .. }), "{error:?}");
    assert_eq!(server.count(), 1);
}

#[tokio::test]
async fn a_dropped_call_ends_at_the_server_too() {
    let (gone, mut ended) = tokio::sync::mpsc::unbounded_channel::<()>();
    let server = Server::start(move |_, _| {
        let gone = gone.clone();
        let body = futures_util::stream::unfold(gone, |gone| async move {
            tokio::time::sleep(Duration::from_millis(5)).await;
            Some((
                Ok::<_, std::io::Error>(format!("data: {}\n\n", chunk(&json!({"content": "x"})))),
                gone,
            ))
        });
        answer(200, "text/event-stream", Body::from_stream(body))
    })
    .await;
    let (first, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let sink: TextSink = std::sync::Arc::new(move |_: &str| {
        let _ = first.send(());
    });
    let client = server.openai();
    let call = tokio::spawn(async move { client.complete(&hello(), Some(&sink)).await });
    heard.recv().await.unwrap();
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    // A closed connection drops the body, and with it the last sender except the server's own.
    let waited = tokio::time::timeout(Duration::from_secs(20), async {
        while heard.recv().await.is_some() {}
    });
    assert!(waited.await.is_ok());
    drop(server);
    assert!(tokio::time::timeout(Duration::from_secs(20), ended.recv()).await.unwrap().is_none());
}
