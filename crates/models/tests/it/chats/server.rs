//! A server on this machine that speaks OpenAI's chat completions, with answers from a test.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use axum::{Json, Router, extract::State, http::StatusCode, routing::post};
use cellblock_models::{Connection, OpenAi, Transport};
use serde_json::{Value, json};

/// The server. It ends with the test's runtime.
#[derive(Clone)]
pub struct Server {
    pub address: String,
    memory: Arc<Mutex<Memory>>,
}

struct Memory {
    answers: VecDeque<(u16, Value)>,
    requests: Vec<Value>,
}

impl Server {
    /// A server that gives these answers in order, and then status 500.
    pub async fn start(answers: impl IntoIterator<Item = (u16, Value)>) -> Self {
        let memory = Arc::new(Mutex::new(Memory {
            answers: answers.into_iter().collect(),
            requests: Vec::new(),
        }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/v1", listener.local_addr().unwrap());
        let router =
            Router::new().route("/v1/chat/completions", post(answer)).with_state(memory.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, memory }
    }

    /// What it was asked, in order.
    pub fn requests(&self) -> Vec<Value> {
        self.memory.lock().unwrap().requests.clone()
    }

    /// A client of it, which does not wait long between attempts.
    pub fn client(&self, model: &str) -> OpenAi {
        let transport = Transport {
            retries: 2,
            first_delay: std::time::Duration::from_millis(1),
            ..Transport::default()
        };
        OpenAi { connection: Connection::new(transport), ..OpenAi::new(&self.address, model) }
    }
}

async fn answer(
    State(memory): State<Arc<Mutex<Memory>>>,
    Json(request): Json<Value>,
) -> (StatusCode, Json<Value>) {
    let mut memory = memory.lock().unwrap();
    memory.requests.push(request.clone());
    let (status, mut body) = memory
        .answers
        .pop_front()
        .unwrap_or((500, json!({"error": {"message": "the script has ended"}})));
    if status == 200 {
        body["model"] = request["model"].clone();
    }
    (StatusCode::from_u16(status).unwrap(), Json(body))
}

/// An answer of text, which took 100 tokens to read and 10 to write.
pub fn says(content: &str) -> (u16, Value) {
    answers(json!({"role": "assistant", "content": content}), "stop")
}

/// An answer that calls a tool.
pub fn calls(id: &str, name: &str, arguments: &str) -> (u16, Value) {
    let call =
        json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}});
    answers(json!({"role": "assistant", "content": null, "tool_calls": [call]}), "tool_calls")
}

/// A failure.
pub fn fails(status: u16) -> (u16, Value) {
    (status, json!({"error": {"message": "not now", "type": "server_error"}}))
}

fn answers(message: Value, finish: &str) -> (u16, Value) {
    let body = json!({
        "id": "c1", "object": "chat.completion", "created": 1,
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
    });
    (200, body)
}
