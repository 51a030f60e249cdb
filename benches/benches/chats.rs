//! Conversations: `cargo bench -p cellblock-benches --bench chats`.
//!
//! Measures the messages per second of two agents without a model, the memory of a message, the
//! time of a turn with a server on this machine beside the bare request in the same run, and the
//! start and memory of the whole command.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)]

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Router, routing::post};
use cellblock_agents::{Agent, Chat, HumanInputMode};
use cellblock_models::OpenAi;
use serde_json::json;

const ROUNDS: usize = 9;
const TURNS: u32 = 100_000;
const CALLS: usize = 300;

fn main() {
    // `cargo test` and `cargo bench -- --list` start benchmarks, too.
    if std::env::args().any(|argument| argument == "--test" || argument == "--list") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        messages().await;
        server().await;
    });
    command();
}

fn agent(name: &str, reply: &str) -> Agent {
    Agent {
        default_reply: reply.to_owned(),
        human_input: HumanInputMode::Never,
        max_consecutive_auto_replies: u32::MAX,
        ..Agent::new(name)
    }
}

/// Measures two agents with fixed replies: their speed, and the memory of a long chat for each
/// message.
async fn messages() {
    let chat = Chat { max_turns: Some(TURNS), ..Chat::between(agent("a", "ra"), agent("b", "rb")) };
    let mut rates = Vec::new();
    let mut held = Vec::new();
    for _ in 0..ROUNDS {
        let before = resident();
        let started = Instant::now();
        let result = chat.run("hi").await.unwrap();
        let took = started.elapsed();
        let count = result.history.len();
        assert_eq!(count, 2 * TURNS as usize);
        rates.push(count as f64 / took.as_secs_f64());
        held.push(resident().saturating_sub(before) as f64 / count as f64);
    }
    // Later rounds reuse the memory of the first.
    println!(
        "chat of two without a model: {:.0} messages per second (median of {ROUNDS})",
        median(rates)
    );
    println!("a chat of {TURNS} turns uses {:.0} bytes for each message", held[0]);
}

/// Measures a turn with a server on this machine, beside the bare request.
async fn server() {
    let answer = json!({
        "id": "1", "object": "chat.completion", "created": 0, "model": "m",
        "choices": [{
            "index": 0, "finish_reason": "stop",
            "message": {"role": "assistant", "content": "Fine."}
        }],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
    });
    let app =
        Router::new().route("/v1/chat/completions", post(async move || axum::Json(answer.clone())));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/v1", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });

    let model = Arc::new(OpenAi::new(base.as_str(), "m"));
    let chat = Chat {
        max_turns: Some(1),
        ..Chat::between(agent("user", ""), Agent::assistant("assistant", model))
    };
    let bare = reqwest::Client::builder().tls_backend_preconfigured(no_tls()).build().unwrap();
    let body = json!({"model": "m", "messages": [
        {"role": "system", "content": cellblock_agents::prompts::ASSISTANT},
        {"role": "user", "content": "How are you?"}]});
    let (mut turns, mut requests) = (Vec::new(), Vec::new());
    for _ in 0..CALLS {
        // Alternating, so that a change of the machine's speed affects both equally.
        let started = Instant::now();
        let result = chat.run("How are you?").await.unwrap();
        turns.push(started.elapsed().as_secs_f64() * 1e3);
        assert_eq!(result.history.len(), 2, "{}", result.stop);
        let started = Instant::now();
        let sent = bare.post(format!("{base}/chat/completions")).json(&body).send().await.unwrap();
        let _: serde_json::Value = sent.json().await.unwrap();
        requests.push(started.elapsed().as_secs_f64() * 1e3);
    }
    let (turn, request) = (median(turns), median(requests));
    println!(
        "a turn with a server on this machine: {turn:.3} ms; the bare request {request:.3} ms; \
         ours {:.3} ms",
        turn - request
    );
}

/// Returns a TLS configuration for the bare client, which requires one. The server here uses none.
fn no_tls() -> rustls::ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap();
    builder.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth()
}

/// Measures the start and memory of the command, in a chat that a recording answers.
fn command() {
    let program = std::env::current_exe().unwrap().parent().unwrap().with_file_name("cellblock");
    if !program.exists() {
        println!(
            "start of the command: not measured, {} is not built (cargo build --release)",
            program.display()
        );
        return;
    }
    let recording =
        PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/recordings/joke.jsonl"));
    let mut times = Vec::new();
    let mut peak = 0;
    for _ in 0..2 * ROUNDS {
        let started = Instant::now();
        let mut command = Command::new(&program);
        command.args([
            "chat",
            "--text-only",
            "--human",
            "never",
            "--max-turns",
            "1",
            "--no-cache",
            "--replay",
        ]);
        command.arg(&recording).arg("Tell me a joke about NVDA and TESLA stock prices.");
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let status = loop {
            // The kernel forgets the peak when the process is gone.
            peak = peak.max(peak_of(child.id()));
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            std::thread::sleep(Duration::from_micros(100));
        };
        assert!(status.success(), "{status}");
        times.push(started.elapsed().as_secs_f64() * 1e3);
    }
    println!(
        "a whole chat of the command: {:.1} ms, peak {:.1} MB",
        median(times),
        peak as f64 / 1e6
    );
}

/// Returns the maximum memory of a process so far, in bytes.
fn peak_of(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// Returns the memory of this process, in bytes.
fn resident() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm").unwrap();
    pages.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
