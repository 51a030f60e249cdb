//! The whole loop on this machine: a real model writes code, and the code runs.

use crate::command::{TestDir, require_image};

/// A task that the tiny model solves reliably. The rest of its answer may be anything.
const TASK: &str = "Write a Python program that prints the sum of the numbers 1 to 10. \
                    Put it in a python code block.";

#[test]
fn a_real_model_writes_code_that_runs() {
    require_image();
    let dir = TestDir::new();
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
    let output = dir.run(&[&arguments[..], &["--no-cache", "--json"]].concat());
    assert_eq!(output.code, Some(0), "{output}");
    let result = output.json();
    let message = |index: usize| {
        result["chat_history"][index]["content"].as_str().unwrap_or_default().to_owned()
    };
    assert!(message(1).contains("```"), "{output}");
    let answer = message(2);
    assert!(answer.starts_with("exitcode: 0 (execution succeeded)\nCode output: "), "{output}");
    assert!(answer.contains("55"), "{output}");
    // Tokens are counted, and cost nothing.
    let cost = &result["cost"]["usage_excluding_cached_inference"];
    assert_eq!(cost["total_cost"], 0.0, "{output}");
    assert!(
        cost.as_object()
            .unwrap()
            .values()
            .any(|model| model["completion_tokens"].as_u64() > Some(0)),
        "{output}"
    );
}
