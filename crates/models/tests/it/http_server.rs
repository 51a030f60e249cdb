//! A server on loopback that answers as a test wants, and remembers what it was asked.

use std::{
    collections::HashSet,
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{ConnectInfo, DefaultBodyLimit, State},
    http::{HeaderMap, Uri},
    response::Response,
};
use cellblock_agents::{ModelMessage, ModelRequest, TextSink};
use cellblock_models::{Connection, OpenAi, Transport};
use futures_util::{Stream, StreamExt, stream};
use serde_json::{Value, json};

/// A request that came.
#[derive(Debug, Clone)]
pub struct Asked {
    pub uri: Uri,
    pub headers: HeaderMap,
    pub body: Value,
}

type Answer = dyn Fn(usize, &Asked) -> Response + Send + Sync;

struct Shared {
    answer: Box<Answer>,
    asked: Mutex<Vec<Asked>>,
    peers: Mutex<HashSet<SocketAddr>>,
}

/// The server. It ends with the value.
pub struct Server {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// A server that answers the request of each number, from 0, by a function.
    pub async fn start(answer: impl Fn(usize, &Asked) -> Response + Send + Sync + 'static) -> Self {
        let shared = Arc::new(Shared {
            answer: Box::new(answer),
            asked: Mutex::default(),
            peers: Mutex::default(),
        });
        let router = Router::new()
            .fallback(take)
            .layer(DefaultBodyLimit::disable())
            .with_state(shared.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        let task = tokio::spawn(async move { axum::serve(listener, service).await.unwrap() });
        Self { address, shared, task }
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().unwrap().clone()
    }

    pub fn count(&self) -> usize {
        self.shared.asked.lock().unwrap().len()
    }

    /// How many connections were made.
    pub fn connections(&self) -> usize {
        self.shared.peers.lock().unwrap().len()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// A client for it that does not wait long.
    pub fn openai(&self) -> OpenAi {
        OpenAi { connection: Connection::new(quick()), ..OpenAi::new(self.url("/v1"), "gpt-4") }
    }
}

async fn take(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    shared.peers.lock().unwrap().insert(peer);
    let asked = Asked { uri, headers, body: serde_json::from_slice(&body).unwrap_or_default() };
    let number = {
        let mut all = shared.asked.lock().unwrap();
        all.push(asked.clone());
        all.len() - 1
    };
    (shared.answer)(number, &asked)
}

/// Bounds for tests: two repetitions that come at once.
pub fn quick() -> Transport {
    Transport {
        retries: 2,
        first_delay: Duration::from_millis(1),
        longest_delay: Duration::from_secs(2),
        timeout: Duration::from_secs(60),
        ..Transport::default()
    }
}

pub fn hello() -> ModelRequest {
    let message = ModelMessage::User { name: None, content: "hello".into() };
    ModelRequest { messages: vec![message], ..ModelRequest::default() }
}

/// Hears text, and keeps it in pieces.
pub fn listener() -> (TextSink, Arc<Mutex<Vec<String>>>) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let sink = heard.clone();
    (Arc::new(move |text: &str| sink.lock().unwrap().push(text.to_owned())), heard)
}

pub fn answer(status: u16, kind: &str, body: impl Into<Body>) -> Response {
    Response::builder().status(status).header("content-type", kind).body(body.into()).unwrap()
}

pub fn as_json(status: u16, body: &Value) -> Response {
    answer(status, "application/json", body.to_string())
}

/// A whole answer of chat completions.
pub fn completion(text: &str) -> Response {
    as_json(
        200,
        &json!({"model": "gpt-4-0613",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}}),
    )
}

/// How a body ends that comes in pieces.
#[derive(Debug, Clone, Copy)]
pub enum End {
    /// As it should.
    Whole,
    /// The connection breaks.
    Cut,
    /// Never.
    Never,
}

/// An answer whose body comes in pieces.
pub fn pieces(kind: &str, pieces: Vec<String>, end: End) -> Response {
    let pieces = stream::iter(pieces.into_iter().map(Ok::<_, std::io::Error>));
    let body = match end {
        End::Whole => Body::from_stream(pieces),
        End::Cut => {
            // The error comes a little later, so that what was written before it goes out.
            let cut = stream::once(async {
                tokio::time::sleep(Duration::from_millis(50)).await;
                Err(std::io::Error::other("cut"))
            });
            Body::from_stream(pieces.chain(cut))
        }
        End::Never => Body::from_stream(pieces.chain(stream::pending())),
    };
    answer(200, kind, body)
}

/// Server-sent events.
pub fn events(data: &[Value], end: End) -> Response {
    pieces("text/event-stream", data.iter().map(|data| format!("data: {data}\n\n")).collect(), end)
}

/// A body that goes on and on.
pub fn endless(piece: String) -> impl Stream<Item = Result<Bytes, Infallible>> {
    stream::repeat(Ok(Bytes::from(piece)))
}

/// Chat completion chunks of these texts, with an end and usage, and `[DONE]`.
pub fn streamed(texts: &[&str]) -> Response {
    let mut data: Vec<_> = texts
        .iter()
        .map(|text| format!("data: {}\n\n", chunk(&json!({"content": text}))))
        .collect();
    data.push(format!(
        "data: {}\n\n",
        json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    ));
    data.push(format!(
        "data: {}\n\ndata: [DONE]\n\n",
        json!({"choices": [], "usage": {"prompt_tokens": 100, "completion_tokens": 10}})
    ));
    pieces("text/event-stream", data, End::Whole)
}

pub fn chunk(delta: &Value) -> Value {
    json!({"choices": [{"index": 0, "delta": delta, "finish_reason": null}]})
}
