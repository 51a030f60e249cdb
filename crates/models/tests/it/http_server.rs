//! A server on loopback that answers as a test wants and records its requests.

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

/// A received request.
#[derive(Debug, Clone)]
pub struct ReceivedRequest {
    pub uri: Uri,
    pub headers: HeaderMap,
    pub body: Value,
}

type Respond = dyn Fn(usize, &ReceivedRequest) -> Response + Send + Sync;

struct Shared {
    respond: Box<Respond>,
    requests: Mutex<Vec<ReceivedRequest>>,
    peers: Mutex<HashSet<SocketAddr>>,
}

/// A server. It ends when it is dropped.
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
    /// Starts a server that responds by a function of the number of the request, from 0, and the
    /// request.
    pub async fn start(
        respond: impl Fn(usize, &ReceivedRequest) -> Response + Send + Sync + 'static,
    ) -> Self {
        let shared = Arc::new(Shared {
            respond: Box::new(respond),
            requests: Mutex::default(),
            peers: Mutex::default(),
        });
        let router = Router::new()
            .fallback(receive)
            .layer(DefaultBodyLimit::disable())
            .with_state(shared.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        let task = tokio::spawn(async move { axum::serve(listener, service).await.unwrap() });
        Self { address, shared, task }
    }

    pub fn requests(&self) -> Vec<ReceivedRequest> {
        self.shared.requests.lock().unwrap().clone()
    }

    pub fn count(&self) -> usize {
        self.shared.requests.lock().unwrap().len()
    }

    /// Returns the number of connections.
    pub fn connections(&self) -> usize {
        self.shared.peers.lock().unwrap().len()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Returns a client for it that does not wait long.
    pub fn openai(&self) -> OpenAi {
        OpenAi { connection: Connection::new(quick()), ..OpenAi::new(self.url("/v1"), "gpt-4") }
    }
}

async fn receive(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    shared.peers.lock().unwrap().insert(peer);
    let request =
        ReceivedRequest { uri, headers, body: serde_json::from_slice(&body).unwrap_or_default() };
    let number = {
        let mut all = shared.requests.lock().unwrap();
        all.push(request.clone());
        all.len() - 1
    };
    (shared.respond)(number, &request)
}

/// Returns bounds for tests: two retries without a wait.
pub fn quick() -> Transport {
    Transport {
        retries: 2,
        first_delay: Duration::from_millis(1),
        max_delay: Duration::from_secs(2),
        timeout: Duration::from_secs(60),
        ..Transport::default()
    }
}

pub fn hello() -> ModelRequest {
    let message = ModelMessage::User { name: None, content: "hello".into() };
    ModelRequest { messages: vec![message], ..ModelRequest::default() }
}

/// Returns a sink and the pieces of text that it gets.
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

/// Returns a whole answer of chat completions.
pub fn completion(text: &str) -> Response {
    as_json(
        200,
        &json!({"model": "gpt-4-0613",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": text},
                "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}}),
    )
}

/// The end of a body that arrives in pieces.
#[derive(Debug, Clone, Copy)]
pub enum End {
    /// The regular end.
    Whole,
    /// The connection breaks.
    Cut,
    /// Never.
    Never,
}

/// Returns a response whose body arrives in pieces.
pub fn pieces(kind: &str, pieces: Vec<String>, end: End) -> Response {
    let pieces = stream::iter(pieces.into_iter().map(Ok::<_, std::io::Error>));
    let body = match end {
        End::Whole => Body::from_stream(pieces),
        End::Cut => {
            // The error comes a little later, so that the pieces before it are sent.
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

/// Returns server-sent events.
pub fn events(data: &[Value], end: End) -> Response {
    pieces("text/event-stream", data.iter().map(|data| format!("data: {data}\n\n")).collect(), end)
}

/// Returns a body without an end.
pub fn endless(piece: String) -> impl Stream<Item = Result<Bytes, Infallible>> {
    stream::repeat(Ok(Bytes::from(piece)))
}

/// Returns chat completion chunks of these texts, with an end, usage and `[DONE]`.
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
