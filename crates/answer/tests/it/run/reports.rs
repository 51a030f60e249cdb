//! The public JSON.

use cellblock_answer::run::{RunOptions, RunReport};
use serde_json::json;

use super::{Double, python, run};

#[tokio::test]
async fn the_json_is_the_documented_one() {
    let mut blocks = python(&["write chart.png pixels\nprint done", "exit 3", "print x"]);
    blocks[0].filename = Some("plot.py".into());
    let report = run(&Double::default(), &blocks, &RunOptions::default()).await;
    let mut value = serde_json::to_value(&report).unwrap();
    for block in value["blocks"].as_array_mut().unwrap() {
        assert!(block["duration_ms"].as_f64().unwrap() < 10_000.0);
        block["duration_ms"] = json!(0);
        for attempt in block["attempts"].as_array_mut().unwrap() {
            attempt["duration_ms"] = json!(0);
        }
    }
    let expected = json!({
        "executor": "double", "isolation": "wasm", "exit_code": 1,
        "blocks": [
            {
                "index": 0, "language": "python", "inferred": false,
                "filename": "plot.py", "line": 1,
                "executor": "double", "isolation": "wasm",
                "outcome": {"kind": "exited", "code": 0},
                "stdout": "done\n", "stderr": "", "dropped": {"stdout": 0, "stderr": 0},
                "artifacts": [{"path": "chart.png", "media_type": "image/png", "bytes": 6}],
                "refused": [], "installed": [],
                "attempts": [{"outcome": {"kind": "exited", "code": 0}, "duration_ms": 0}],
                "notes": [], "state_lost": false, "duration_ms": 0
            },
            {
                "index": 1, "language": "python", "inferred": false, "filename": null, "line": 11,
                "executor": "double", "isolation": "wasm",
                "outcome": {"kind": "exited", "code": 3},
                "stdout": "", "stderr": "", "dropped": {"stdout": 0, "stderr": 0},
                "artifacts": [], "refused": [], "installed": [],
                "attempts": [{"outcome": {"kind": "exited", "code": 3}, "duration_ms": 0}],
                "notes": [], "state_lost": false, "duration_ms": 0
            },
            {
                "index": 2, "language": "python", "inferred": false, "filename": null, "line": 21,
                "executor": null, "isolation": null,
                "outcome": {"kind": "skipped"},
                "stdout": "", "stderr": "", "dropped": {"stdout": 0, "stderr": 0},
                "artifacts": [], "refused": [], "installed": [], "attempts": [],
                "notes": [], "state_lost": false, "duration_ms": 0
            }
        ]
    });
    assert_eq!(value, expected);
}

#[tokio::test]
async fn the_json_can_be_read_back() {
    let report = run(
        &Double::default(),
        &python(&["import humanize\nprint x", "break"]),
        &RunOptions::default(),
    )
    .await;
    let text = serde_json::to_string(&report).unwrap();
    let mut read: RunReport = serde_json::from_str(&text).unwrap();
    for (read, report) in read.blocks.iter_mut().zip(&report.blocks) {
        // JSON has microseconds.
        assert!(read.duration.abs_diff(report.duration) < std::time::Duration::from_micros(2));
        read.duration = report.duration;
        for (read, report) in read.attempts.iter_mut().zip(&report.attempts) {
            read.duration = report.duration;
        }
    }
    assert_eq!(read, report);
}

#[tokio::test]
async fn the_report_keeps_a_bounded_amount_of_text() {
    let long = format!("print {}", "é".repeat(100));
    let options = RunOptions { report_bytes: 250, ..RunOptions::default() };
    let report = run(&Double::default(), &python(&[&long, &long, &long]), &options).await;
    let kept: Vec<_> =
        report.blocks.iter().map(|block| (block.stdout.len(), block.dropped.stdout)).collect();
    // 201 bytes; then 49, of which the last would be half a letter; then none.
    assert_eq!(kept, [(201, 0), (48, 153), (0, 201)]);
    assert_eq!(report.exit_code, 0);
}
