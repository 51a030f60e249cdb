//! Keys appear in no message, no debug output and no trace.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
};

use cellblock_agents::{ModelClient, ModelError};
use cellblock_models::{Anthropic, Connection, KeyPlace, Ollama, OpenAi};
use serde_json::json;
use tracing_subscriber::fmt::MakeWriter;

use crate::http_server::*;

const KEY: &str = "sk-open-sesame-4711";

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Log;

    fn make_writer(&'a self) -> Log {
        self.clone()
    }
}

fn clients(server: &Server) -> Vec<Box<dyn ModelClient>> {
    let connection = Connection::new(quick());
    let openai = OpenAi { key: Some(KEY.into()), ..server.openai() };
    let header = vec![("x-own-key".to_owned(), KEY.into())];
    vec![
        Box::new(OpenAi { key_place: KeyPlace::ApiKey, ..openai.clone() }),
        Box::new(OpenAi { key: None, headers: header, ..openai.clone() }),
        Box::new(openai),
        Box::new(Anthropic {
            key: Some(KEY.into()),
            base_url: server.url("/v1"),
            connection: connection.clone(),
            ..Anthropic::new("claude-sonnet-4-5")
        }),
        Box::new(Ollama {
            key: Some(KEY.into()),
            base_url: server.url(""),
            connection,
            ..Ollama::new("llama3")
        }),
    ]
}

/// Returns everything that an error can show.
fn full_text(error: &ModelError) -> String {
    let mut text = format!("{error} {error:?} {error:#?}");
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(&format!(" {cause} {cause:?}"));
        source = cause.source();
    }
    text
}

// On one thread, so that the traces of the connection's own tasks are captured too.
#[tokio::test(flavor = "current_thread")]
async fn the_key_appears_nowhere() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(log.clone())
        .finish();
    let guard = tracing::subscriber::set_default(subscriber);
    // The server repeats the key in every possible way.
    let words = format!("the key '{KEY}' is wrong");
    let server = Server::start(move |number, request| match number % 8 {
        0 => as_json(401, &json!({"error": {"message": words}})),
        1 => answer(400, "text/html", format!("<title>{words}</title>")),
        2 => as_json(200, &json!({"nothing": words})),
        3 => answer(200, "application/json", format!("{words} {}", request.headers.len())),
        4 => as_json(429, &json!({"error": {"message": words, "code": "insufficient_quota"}})),
        5 => as_json(400, &json!({"error": {"message": format!("context length {words}")}})),
        6 => answer(302, "text/plain", words.clone()),
        _ => events(
            &[chunk(&json!({"content": "hel"})), json!({"error": words, "type": "error"})],
            End::Cut,
        ),
    })
    .await;
    let mut everything = String::new();
    for client in clients(&server) {
        everything.push_str(&format!("{client:?} {client:#?} "));
        for number in 0..8 {
            let (sink, _) = listener();
            let error =
                client.complete(&hello(), Some(&sink).filter(|_| number == 7)).await.unwrap_err();
            everything.push_str(&full_text(&error));
        }
    }
    drop(guard);
    // Control: the key was sent, and errors and traces were captured.
    assert_eq!(server.count(), 40);
    let sent = format!(
        "{:?}",
        server
            .requests()
            .iter()
            .map(|request| request
                .headers
                .values()
                .map(|v| v.as_bytes().to_vec())
                .collect::<Vec<_>>())
            .collect::<Vec<_>>()
    );
    assert!(sent.contains(&format!("{:?}", KEY.as_bytes())));
    assert!(everything.contains("[key]") && everything.contains("REDACTED"), "{everything}");
    let log = log.text();
    assert!(log.contains("http.request") && log.contains("hyper"), "{log}");
    for text in [&everything, &log] {
        for secret in [KEY, "sesame"] {
            assert!(
                !text.contains(secret),
                "{}",
                text.lines().find(|line| line.contains(secret)).unwrap_or_default()
            );
        }
    }
}
