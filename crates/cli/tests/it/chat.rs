//! Chats with answers from recordings.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    process::Command,
    time::{Duration, Instant},
};

use insta::assert_snapshot;
use serde_json::json;

use crate::{
    command::{CommandOutput, TestDir, assert_files, fixture, require_image},
    recording::{answer, exchange, recorded},
};

const TASK: &str = "Which stock did better this year?";

/// Returns the output without ids of chats and sizes of pictures, which differ from run to run.
fn stable(output: &CommandOutput) -> String {
    let mut text = output.to_string();
    let mut from = 0;
    while let Some(at) =
        text[from..].find("TERMINATING RUN (").map(|at| from + at + "TERMINATING RUN (".len())
    {
        text.replace_range(at..at + 36, "[ID]");
        from = at;
    }
    let is_size =
        |part: &str| part.ends_with(" KiB") && part[..part.len() - 4].parse::<f64>().is_ok();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for line in &mut lines {
        if let Some((before, size)) =
            line.split_once("image/png, ").map(|(before, after)| (before.len(), after.to_owned()))
            && let Some((size, end)) = size.split_at_checked(size.len() - 1)
            && is_size(size)
        {
            *line = format!("{}image/png, [SIZE]{end}", &line[..before]);
        }
    }
    lines.join("\n")
}

#[test]
fn a_chat_that_is_replayed() {
    require_image();
    let dir = TestDir::new();
    let output = dir.run(&[
        "chat",
        TASK,
        "--replay",
        &fixture("recordings/stock-chart.jsonl"),
        "--out",
        "charts",
    ]);
    assert_snapshot!(stable(&output));
    assert_eq!(output.code, Some(0));
    assert_files(&dir.path("charts"), &["figure-1.png"]);
    assert!(
        std::fs::read(dir.path("charts/figure-1.png")).unwrap().starts_with(b"\x89PNG\r\n\x1a\n")
    );
}

#[test]
fn a_chat_as_json_and_as_events() {
    require_image();
    let dir = TestDir::new();
    let recording = fixture("recordings/stock-chart.jsonl");
    let output = dir.run_with(&["chat", "--json", "--replay", &recording], TASK.as_bytes());
    assert_eq!((output.code, output.stderr.as_str()), (Some(0), ""), "{output}");
    let json = output.json();
    assert_eq!((&json["exit_code"], &json["stop"]["reason"]), (&0.into(), &"termination".into()));
    assert_eq!(json["chat_history"].as_array().unwrap().len(), 6);
    assert_eq!(json["chat_history"][0]["content"], TASK);
    assert_eq!(json["chat_history"][4]["artifacts"][0]["path"], "figure-1.png");
    assert!(json["summary"].as_str().unwrap().starts_with("NVDA did better"), "{json}");
    assert_eq!(json["cost"]["usage_excluding_cached_inference"]["by-hand"]["total_tokens"], 1980);
    assert_files(&dir.path("cellblock-out"), &["figure-1.png"]);

    let output = dir.run_with(&["chat", "-", "--events", "--replay", &recording], TASK.as_bytes());
    let events: Vec<serde_json::Value> = output
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}")))
        .collect();
    let kinds: Vec<_> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!((kinds[0], kinds[kinds.len() - 1]), ("chat_started", "chat_stopped"));
    for kind in ["text", "message", "model_answered", "block_started", "block_finished"] {
        assert!(kinds.contains(&kind), "{kind}: {kinds:?}");
    }
}

#[test]
fn a_recording_without_an_answer() {
    let dir = TestDir::new();
    let recording = fixture("recordings/stock-chart.jsonl");
    let output = dir.run(&["chat", "Tell me a joke.", "--replay", &recording]);
    assert_snapshot!("unanswered", stable(&output));
    assert_eq!(output.code, Some(125));
    let output = dir.run(&["chat", "Tell me a joke.", "--replay", &recording, "--json"]);
    assert_eq!(
        (output.code, &output.json()["stop"]["reason"]),
        (Some(125), &"failed".into()),
        "{output}"
    );
}

#[test]
fn invalid_values() {
    let dir = TestDir::new();
    dir.write("there.jsonl", "x").write("text.png", "no picture");
    let recording = fixture("recordings/stock-chart.jsonl");
    for (name, args) in [
        ("human", ["--human", "sometimes"].as_slice()),
        ("budget", &["--budget", "0"]),
        ("max-turns", &["--max-turns", "0"]),
        ("max-time", &["--max-time", "soon"]),
        ("model", &["--model", "moon"]),
        ("no-key", &["--model", "openai/gpt-4o-mini"]),
        ("replay-missing", &["--replay", "missing.jsonl"]),
        ("replay-other", &["--replay", "there.jsonl"]),
        (
            "record-nowhere",
            &["--record", "no/such/answers.jsonl", "--model", "http://127.0.0.1:9/v1#tiny"],
        ),
        ("replay-and-record", &["--replay", "a", "--record", "b"]),
        ("save-there", &["--save", "there.jsonl"]),
        ("attach-missing", &["--attach", "missing.png", "--replay", &recording]),
        ("attach-text", &["--attach", "text.png", "--replay", &recording]),
        ("executor", &["--executor", "moon"]),
        ("human-always", &["--human", "always", "--replay", &recording]),
        ("approve-always", &["--approve", "always", "--replay", &recording]),
    ] {
        let output = dir.run(&[&["chat", "task"], args].concat());
        assert_snapshot!(format!("chat-value-{name}"), output.without_lists());
        assert_eq!(output.code, Some(2));
    }
    let output = dir.run(&["chat", "--replay", &recording]);
    assert_snapshot!("chat-value-no-task", output);
    // With --json, an error is one object as well.
    let output = dir.run(&["chat", "task", "--json", "--model", "moon"]);
    assert_eq!((output.json()["exit_code"].as_i64(), output.code), (Some(2), Some(2)));
    assert!(output.json()["stop"]["message"].as_str().unwrap().contains("moon"));
}

#[test]
fn a_chat_is_saved_and_continued() {
    require_image();
    let dir = TestDir::new();
    let recording = fixture("recordings/stock-chart.jsonl");
    let output = dir.run(&[
        "chat",
        TASK,
        "--replay",
        &recording,
        "--max-turns",
        "1",
        "--save",
        "chat.jsonl",
        "--json",
    ]);
    assert_eq!(
        (output.code, &output.json()["stop"]["reason"]),
        (Some(0), &"max_turns".into()),
        "{output}"
    );
    let output = dir.run(&["chat", "--replay", &recording, "--resume", "chat.jsonl", "--json"]);
    let json = output.json();
    assert_eq!(
        (output.code, json["chat_history"].as_array().unwrap().len()),
        (Some(0), 6),
        "{output}"
    );
    assert_eq!(
        json["cost"]["usage_excluding_cached_inference"]["by-hand"]["total_tokens"], 1980,
        "the sum of both runs"
    );
    assert!(json["summary"].as_str().unwrap().starts_with("NVDA did better"), "{json}");
}

#[test]
fn files_that_cannot_be_continued() {
    let dir = TestDir::new();
    dir.write(
        "newer.jsonl",
        "{\"cellblock_chat\":9,\"id\":\"1\",\"agents\":[\"user\",\"assistant\"]}\n",
    )
    .write("others.jsonl", "{\"cellblock_chat\":1,\"id\":\"1\",\"agents\":[\"ann\",\"ben\"]}\n")
    .write("text.jsonl", "hello\n");
    let recording = fixture("recordings/stock-chart.jsonl");
    for name in ["newer", "others", "text", "missing"] {
        let output =
            dir.run(&["chat", "--replay", &recording, "--resume", &format!("{name}.jsonl")]);
        assert_snapshot!(format!("chat-resume-{name}"), output);
        assert_eq!(output.code, Some(2));
    }
}

#[test]
fn a_question_without_a_terminal_is_a_failure_with_advice() {
    let why = answer("", "Why? TERMINATE");
    let args = ["chat", "joke", "--replay", "answers.jsonl", "--text-only"];
    let output =
        recorded(&[&why]).run(&[&args[..], &["--human", "terminate", "--max-turns", "5"]].concat());
    assert_eq!(output.code, Some(125), "{output}");
    assert!(output.stderr.contains("--human never"), "{output}");
    // The control.
    let output = recorded(&[&why]).run(&[&args[..], &["--max-turns", "5"]].concat());
    assert_eq!(output.code, Some(0), "{output}");
}

#[test]
fn limits_end_a_chat() {
    require_image();
    let paid = |content: &str| {
        let usage = json!({"prompt_tokens": 5, "completion_tokens": 5});
        exchange("", json!({"content": content, "usage": usage, "cost": 0.5}))
    };
    let sleeps = paid("```python\nimport time; time.sleep(600)\n```");
    let talks = paid("```python\nprint(1)\n```");
    let run = |answer: &str, args: &[&str]| {
        let all = [&["chat", "x", "--replay", "answers.jsonl", "--json"], args].concat();
        recorded(&[answer; 20]).run(&all)
    };
    let start = Instant::now();
    let output = run(&sleeps, &["--max-time", "2s"]);
    assert_eq!(
        (output.code, &output.json()["stop"]["of"]),
        (Some(124), &"time".into()),
        "{output}"
    );
    assert!(start.elapsed() < Duration::from_secs(60), "it took {:?}", start.elapsed());
    let output = run(&talks, &["--budget", "0.9"]);
    assert_eq!(
        (output.code, &output.json()["stop"]["of"]),
        (Some(126), &"cost".into()),
        "{output}"
    );
    assert_eq!(output.json()["chat_history"].as_array().unwrap().len(), 4, "two calls");
    let output = run(&talks, &["--max-total-tokens", "10"]);
    assert_eq!(
        (output.code, &output.json()["stop"]["of"]),
        (Some(126), &"tokens".into()),
        "{output}"
    );
    let fails = answer("", "```python\n# filename: a.py\n1 / 0\n```");
    let output = run(&fails, &[]);
    assert_eq!(
        (output.code, &output.json()["stop"]["reason"]),
        (Some(1), &"same_failure".into()),
        "{output}"
    );
    let output = run(&talks, &["--max-turns", "3"]);
    assert_eq!((output.code, &output.json()["stop"]["turns"]), (Some(0), &3.into()), "{output}");
}

#[test]
fn empty_messages_make_no_progress() {
    let (empty, words) = (answer("", ""), answer("", "Why not?"));
    let args = ["chat", "x", "--replay", "answers.jsonl", "--json"];
    let run = |answer: &str, more: &[&str]| {
        let output = recorded(&[answer; 5]).run(&[&args[..], more].concat());
        (output.code, output.json()["stop"]["reason"].as_str().unwrap().to_owned())
    };
    assert_eq!(run(&empty, &["--executor", "local"]), (Some(1), "empty_messages".into()));
    assert_eq!(run(&empty, &["--text-only"]), (Some(1), "max_turns".into()));
    // The controls.
    assert_eq!(run(&words, &["--executor", "local"]), (Some(0), "termination".into()));
    assert_eq!(run(&words, &["--text-only"]), (Some(0), "max_turns".into()));
}

#[test]
fn a_file_in_the_last_message_is_saved_before_the_end() {
    let file = answer("", "```json data.json\n{}\n```\nTERMINATE");
    let done = answer("data.json", "Saved. TERMINATE");
    let dir = recorded(&[done, file]);
    let output =
        dir.run(&["chat", "x", "--executor", "local", "--replay", "answers.jsonl", "--json"]);
    assert_eq!(
        (output.code, output.json()["chat_history"].as_array().unwrap().len()),
        (Some(0), 4),
        "{output}"
    );
    assert_files(&dir.path("cellblock-out"), &["data.json"]);
}

#[test]
fn ctrl_c_ends_a_chat_with_partial_results() {
    require_image();
    let sleeps = answer(
        "",
        "```python\nopen('go.txt', 'w').close()\n```\n\
         ```python\nimport time; time.sleep(600)\n```",
    );
    let dir = recorded(&[sleeps]);
    let mut child =
        dir.command(&["chat", "x", "--replay", "answers.jsonl", "--json"]).spawn().unwrap();
    while !dir.path("cellblock-out/go.txt").exists() {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(
        Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success()
    );
    let mut stdout = String::new();
    child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let json: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((&json["stop"]["reason"], &json["exit_code"]), (&"cancelled".into(), &130.into()));
    assert_eq!(json["chat_history"].as_array().unwrap().len(), 2);
}

#[test]
fn a_reader_that_closes_the_output_ends_a_chat_quietly() {
    let why = answer("", "Why? TERMINATE");
    let dir = recorded(&[&why]);
    let mut child =
        dir.command(&["chat", "joke", "--replay", "answers.jsonl", "--text-only"]).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(141), "{stderr}");
    assert!(!stderr.contains("panicked") && !stderr.contains("error:"), "{stderr}");
}

#[test]
fn control_sequences_of_a_model_are_removed() {
    let evil = answer("", "a\u{1b}]0;title\u{7}b\rc TERMINATE");
    let output = recorded(&[&evil]).run(&["chat", "x", "--replay", "answers.jsonl", "--text-only"]);
    assert!(
        output.stdout.contains("abc TERMINATE")
            && !output.stdout.contains(['\u{1b}', '\u{7}', '\r']),
        "{output}"
    );
    let output = recorded(&[&evil]).run(&[
        "chat",
        "x",
        "--replay",
        "answers.jsonl",
        "--text-only",
        "--json",
    ]);
    assert_eq!(
        output.json()["chat_history"][1]["content"],
        "a\u{1b}]0;title\u{7}b\rc TERMINATE",
        "for programs, exact"
    );
}

/// Starts a server with OpenAI's API that gives one answer. Returns its address and the request.
fn server(answer: &'static str) -> (String, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/v1#tiny", listener.local_addr().unwrap());
    let asked = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let choice = json!({"delta": {"content": answer}, "finish_reason": "stop"});
        let delta = json!({"model": "tiny-1", "choices": [choice]});
        let head =
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
        (&stream).write_all(format!("{head}data: {delta}\n\ndata: [DONE]\n\n").as_bytes()).unwrap();
        String::from_utf8(body).unwrap()
    });
    (address, asked)
}

#[test]
fn a_model_is_asked_recorded_and_replayed() {
    let dir = TestDir::new();
    let (model, asked) = server("A stock walks into a bar. TERMINATE");
    let args = ["chat", "Tell me a joke.", "--text-only", "--no-cache", "--model", &model];
    let first = dir.run(&[&args[..], &["--record", "joke.jsonl"]].concat());
    assert_eq!(first.code, Some(0), "{first}");
    assert!(first.stdout.contains("A stock walks into a bar."), "{first}");
    assert!(asked.join().unwrap().contains("Tell me a joke."));
    let recording = dir.read("joke.jsonl");
    assert!(
        recording.starts_with("{\"cellblock_recording\":1,\"made\":\"recorded\""),
        "{recording}"
    );
    // The server has ended.
    let second = dir.run(&["chat", "Tell me a joke.", "--text-only", "--replay", "joke.jsonl"]);
    assert_eq!(stable(&first), stable(&second));
    let gone = dir.run(&[&args[..], &["--max-time", "5s"]].concat());
    assert!(matches!(gone.code, Some(124 | 125)), "{gone}");
}

#[test]
fn a_budget_without_a_price_gets_a_note() {
    let has_note = |more: &[&str], prices: bool| {
        let (model, asked) = server("Why? TERMINATE");
        let dir = TestDir::new();
        dir.write("prices.toml", "[models]\n\"tiny\" = { input = 1, output = 1 }\n");
        let args = ["chat", "joke", "--text-only", "--no-cache", "--model", &model];
        let mut command = dir.command(&[&args[..], more].concat());
        if prices {
            command.env("CELLBLOCK_PRICES", dir.path("prices.toml"));
        }
        let output = command.output().unwrap();
        asked.join().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{stderr}");
        let note = "note: the price of the model `tiny` is unknown";
        assert!(
            !stderr.contains(note)
                || stderr.contains("`price` or `prices`") && stderr.contains("CELLBLOCK_PRICES")
        );
        stderr.contains(note)
    };
    assert!(has_note(&["--budget", "1"], false));
    // The controls.
    assert!(!has_note(&["--budget", "1"], true));
    assert!(!has_note(&[], false));
}

#[test]
fn spans_are_written_on_request() {
    let why = answer("", "Why? TERMINATE");
    let run = |filter: &str| {
        let dir = recorded(&[&why]);
        let mut command =
            dir.command(&["chat", "joke", "--replay", "answers.jsonl", "--text-only", "--json"]);
        let output = command.env("CELLBLOCK_LOG", filter).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, stderr) = run("info");
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stderr.contains("invoke_agent") && stderr.contains("gen_ai.request.model"), "{stderr}");
    assert_eq!(run(""), (Some(0), String::new()));
    let (code, stderr) = run("cellblock=loud");
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("CELLBLOCK_LOG") && stderr.contains("hint:"), "{stderr}");
}

#[test]
fn doctor_names_keys_and_hides_their_values() {
    let dir = TestDir::new();
    let output = dir.command(&["doctor"]).env("MISTRAL_API_KEY", "very-secret").output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(
        stdout.contains("keys: MISTRAL_API_KEY set") && !stdout.contains("very-secret"),
        "{stdout}"
    );
    assert!(
        stdout.contains("default model: mistral/") && stdout.contains("local model: "),
        "{stdout}"
    );
    let stdout = dir.run(&["doctor"]).stdout;
    assert!(
        stdout.contains("keys: none is set") && stdout.contains("default model: local"),
        "{stdout}"
    );
}
