//! The whole loop with nothing but this machine: a real model writes code, and its code really runs.

use crate::command::{Place, need_image};

/// The model is tiny, and writes this in a way that works. What it says besides is its own business.
const TASK: &str = "Write a Python program that prints the sum of the numbers 1 to 10. Put it in a python code block.";

#[test]
fn a_real_model_writes_code_that_really_runs() {
    need_image();
    let place = Place::new();
    let arguments = [
        "chat",
        TASK,
        "--model",
        "local",
        "--executor",
        "wasi",
        "--human",
        "never",
        "--max-turns",
        "2",
    ];
    let gave = place.run(&[&arguments[..], &["--no-cache", "--json"]].concat());
    assert_eq!(gave.code, Some(0), "{gave}");
    let result = gave.json();
    let message = |place: usize| {
        result["chat_history"][place]["content"].as_str().unwrap_or_default().to_owned()
    };
    assert!(message(1).contains("```"), "{gave}");
    let answer = message(2);
    assert!(answer.starts_with("exitcode: 0 (execution succeeded)\nCode output: "), "{gave}");
    assert!(answer.contains("55"), "{gave}");
    // It counts what the model read and wrote; the price is nothing.
    let cost = &result["cost"]["usage_excluding_cached_inference"];
    assert_eq!(cost["total_cost"], 0.0, "{gave}");
    assert!(
        cost.as_object()
            .unwrap()
            .values()
            .any(|model| model["completion_tokens"].as_u64() > Some(0)),
        "{gave}"
    );
}
