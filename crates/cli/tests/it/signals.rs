//! Ctrl-C, and a reader that closes the output.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::Command,
    time::{Duration, Instant},
};

use crate::command::{TestDir, require_image};

#[test]
fn ctrl_c_ends_the_guest_and_shows_partial_results() {
    require_image();
    let dir = TestDir::new();
    dir.write(
        "answer.md",
        "```python\nprint('first')\nopen('go.txt', 'w').close()\n```\n\
         ```python\nprint('second', flush=True)\nimport time; time.sleep(600)\n```\n\
         ```python\nprint('third')\n```\n",
    );
    for json in [false, true] {
        let args: &[&str] =
            if json { &["run", "answer.md", "--json"] } else { &["run", "answer.md"] };
        let mut child = dir.command(args).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut shown = String::new();
        if json {
            // Nothing is printed before the end, but the artifact of the first block exists when
            // the second one starts.
            while !dir.path("cellblock-out/go.txt").exists() {
                std::thread::sleep(Duration::from_millis(20));
            }
            std::thread::sleep(Duration::from_millis(500));
        } else {
            while !shown.contains("second") {
                assert_ne!(stdout.read_line(&mut shown).unwrap(), 0, "{shown}");
            }
        }
        let start = Instant::now();
        assert!(
            Command::new("kill")
                .args(["-INT", &child.id().to_string()])
                .status()
                .unwrap()
                .success()
        );
        let code = child.wait().unwrap().code();
        assert!(start.elapsed() < Duration::from_secs(5), "it took {:?}", start.elapsed());
        assert_eq!(code, Some(130));
        stdout.read_to_string(&mut shown).unwrap();
        if json {
            let report: serde_json::Value = serde_json::from_str(&shown).unwrap();
            let kinds: Vec<_> = report["blocks"]
                .as_array()
                .unwrap()
                .iter()
                .map(|block| &block["outcome"]["kind"])
                .collect();
            assert_eq!(kinds, ["exited", "cancelled", "skipped"]);
            assert_eq!(report["blocks"][1]["stdout"], "second\n");
        } else {
            assert_eq!(shown, "first\nsecond\n");
        }
    }
}

#[test]
fn a_reader_that_closes_the_output_ends_the_run_quietly() {
    require_image();
    let code = "while True: print('x' * 100)";
    let mut child = TestDir::new()
        .command(&["exec", "-l", "python", "-c", code, "--output-limit", "1g"])
        .spawn()
        .unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    let start = Instant::now();
    let output = child.wait_with_output().unwrap();
    assert_eq!(first.trim_end(), "x".repeat(100));
    assert!(start.elapsed() < Duration::from_secs(10), "it took {:?}", start.elapsed());
    assert_eq!(output.status.code(), Some(141));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(!stderr.contains("panicked") && !stderr.contains("error:"), "{stderr}");
}
