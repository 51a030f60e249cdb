//! Runs in the sandbox.

use insta::assert_snapshot;

use crate::command::{CommandOutput, TestDir, assert_files, require_image};

/// Pulls the image, and returns a directory with an answer.
fn with_answer(answer: &str) -> TestDir {
    require_image();
    let dir = TestDir::new();
    dir.write("answer.md", answer);
    dir
}

/// Returns the output without the time, which differs from run to run.
fn stable(output: CommandOutput) -> String {
    let mut text = output.to_string();
    for line in output.stderr.lines().filter(|line| line.contains(" in ") && line.contains(" s")) {
        let (before, after) = line.split_once(" in ").unwrap();
        let after = after.split_once(" s").map(|(_, after)| after).unwrap_or_default();
        text = text.replace(line, &format!("{before} in [TIME] s{after}"));
    }
    text
}

const THREE: &str = "\
```csv prices.csv
day,price
1,10
2,12
```

```python
# filename: work.py
import csv, sys
rows = list(csv.DictReader(open('prices.csv')))
print('rows:', len(rows))
print('careful', file=sys.stderr)
total = sum(int(row['price']) for row in rows)
with open('sum.txt', 'w') as f: n = f.write(str(total))
```

```python
print(rows[0]['price'])
print('no line end', end='')
```
";

#[test]
fn an_answer() {
    let dir = with_answer(THREE);
    let output = dir.run(&["run", "answer.md"]);
    assert_eq!(output.code, Some(0), "{output}");
    assert_snapshot!(stable(output));
    assert_eq!(dir.read("cellblock-out/sum.txt"), "22");
    assert_files(&dir.path("cellblock-out"), &["prices.csv", "sum.txt"]);
    assert_files(&dir.path(""), &["answer.md", "cellblock-out"]);
}

#[test]
fn an_answer_as_json() {
    let dir = with_answer(THREE);
    let output = dir.run(&["run", "answer.md", "--json", "--out", "charts"]);
    assert_eq!((output.code, output.stderr.as_str()), (Some(0), ""), "{output}");
    let json = output.json();
    assert_eq!(
        (&json["executor"], &json["isolation"], &json["exit_code"]),
        (&"auto".into(), &"wasm".into(), &0.into())
    );
    assert_eq!(json["blocks"][1]["executor"], "wasi");
    let blocks = json["blocks"].as_array().unwrap();
    assert_eq!(blocks.len(), 3);
    assert_eq!(blocks[1]["stdout"], "rows: 2\n");
    assert_eq!(blocks[1]["stderr"], "careful\n");
    assert_eq!((&blocks[1]["filename"], &blocks[1]["line"]), (&"work.py".into(), &7.into()));
    assert_eq!(blocks[1]["outcome"], serde_json::json!({"kind": "exited", "code": 0}));
    let artifact = serde_json::json!([
        {"path": "sum.txt", "media_type": "text/plain", "bytes": 2, "file": "charts/sum.txt"}
    ]);
    assert_eq!(blocks[1]["artifacts"], artifact);
    assert_eq!(blocks[2]["stdout"], "10\nno line end");
    assert_eq!(dir.read("charts/sum.txt"), "22");
}

#[test]
fn the_first_failure_stops_the_run() {
    let dir = with_answer(
        "```python\nprint('a')\n```\n```python\nprint('b')\nraise SystemExit(3)\n```\n\
         ```python\nprint('c')\n```\n",
    );
    let output = dir.run(&["run", "answer.md"]);
    assert_eq!((output.code, output.stdout.as_str()), (Some(1), "a\nb\n"), "{output}");
    assert_snapshot!(stable(output));
}

#[test]
fn each_failure_has_its_exit_status() {
    let dir = with_answer("```ruby\nputs 1\n```\n");
    assert_snapshot!("unsupported", stable(dir.run(&["run", "answer.md", "--executor", "wasi"])));
    let dir = with_answer("```python:../../evil.py\nprint('ran')\n```\n");
    assert_snapshot!("denied", stable(dir.run(&["run", "answer.md"])));
    let output = dir.run(&[
        "exec",
        "-l",
        "python",
        "-c",
        "print('before', flush=True)\nwhile True: pass",
        "--timeout",
        "1s",
    ]);
    assert_eq!((output.code, output.stdout.as_str()), (Some(124), "before\n"), "{output}");
    assert_snapshot!("timeout", stable(output));
    let output = dir.run(&["exec", "-l", "python", "-c", "import nowhere_to_be_found_x"]);
    assert_eq!(output.code, Some(1), "{output}");
    assert!(
        output.stderr.contains("ModuleNotFoundError") && output.stderr.contains("allow list"),
        "{output}"
    );
    let output = dir.run(&["run", "--json", "--memory", "1k", "--executor", "wasi", "answer.md"]);
    assert!(matches!(output.code, Some(2 | 126)), "{output}");
    assert_eq!(output.json()["blocks"], serde_json::json!([]));
    let output = dir.run(&[
        "exec",
        "-c",
        "print(1)",
        "-l",
        "python",
        "--image",
        "no-such-image",
        "--executor",
        "wasi",
    ]);
    assert!(
        output.stderr.contains("no-such-image") && matches!(output.code, Some(2 | 125)),
        "{output}"
    );
}

#[test]
fn exec_prints_the_output_and_nothing_else() {
    require_image();
    let dir = TestDir::new();
    let output = dir.run(&["exec", "-l", "python", "-c", "print(6 * 7)"]);
    assert_eq!(
        (output.code, output.stdout.as_str(), output.stderr.as_str()),
        (Some(0), "42\n", ""),
        "{output}"
    );
    let output = dir.run_with(&["exec", "-l", "python", "-"], b"print('from stdin')");
    assert_eq!((output.code, output.stdout.as_str()), (Some(0), "from stdin\n"), "{output}");
    dir.write("tool.py", "import sys\nprint(sys.stdin.read().upper(), end='')\n")
        .write("in.txt", "héllo\n");
    let output = dir.run(&["exec", "tool.py", "--stdin", "in.txt"]);
    assert_eq!((output.code, output.stdout.as_str()), (Some(0), "HÉLLO\n"), "{output}");
}

#[test]
fn bytes_pass_a_pipe_unchanged() {
    require_image();
    let code =
        r"import sys; n = sys.stdout.buffer.write(b'\x1b[31m\xff\xfe\r\x07'); sys.stdout.flush()";
    let output = TestDir::new().command(&["exec", "-l", "python", "-c", code]).output().unwrap();
    assert_eq!(output.stdout, b"\x1b[31m\xff\xfe\r\x07");
}

#[test]
fn the_end_of_long_output_is_shown() {
    require_image();
    let code = "for i in range(100_000): print(f'line {i:06}')";
    let output = TestDir::new().run(&["exec", "-l", "python", "-c", code, "--output-limit", "64k"]);
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    assert!(output.stdout.starts_with("line 000000\n") && output.stdout.ends_with("line 099999\n"));
    assert!(output.stdout.len() < 100 * 1024, "{} bytes", output.stdout.len());
    assert!(output.stderr.contains("--output-limit"), "{}", output.stderr);
}

#[test]
fn a_workspace_is_copied_except_for_unsafe_files() {
    let dir = with_answer(
        "```python\nimport os\nprint(sorted(os.listdir('.')), open('sub/a.csv').read())\n```\n",
    );
    dir.write("in/sub/a.csv", "1,2").write("in/large.bin", vec![0; 3 << 20]);
    std::os::unix::fs::symlink("/etc/passwd", dir.path("in/link")).unwrap();
    let output = dir.run(&["run", "answer.md", "--workspace", "in", "--disk", "2m"]);
    assert_eq!((output.code, output.stdout.as_str()), (Some(0), "['sub'] 1,2\n"), "{output}");
    assert!(output.stderr.contains("`link` was not copied: it is a symbolic link"), "{output}");
    assert!(output.stderr.contains("`large.bin` was not copied: it is too large"), "{output}");
    assert_files(&dir.path(""), &["answer.md", "in"]);
}

#[test]
fn blocks_with_their_own_sessions_share_nothing() {
    let answer = "```python\nx = 1\n```\n```python\nprint('x' in globals())\n```\n";
    let dir = with_answer(answer);
    assert_eq!(dir.run(&["run", "answer.md"]).stdout, "True\n");
    assert_eq!(dir.run(&["run", "answer.md", "--session-per-block"]).stdout, "False\n");
    // The earlier name of the option.
    assert_eq!(dir.run(&["run", "answer.md", "--fresh"]).stdout, "False\n");
}

#[test]
fn an_artifact_that_cannot_be_written_is_our_failure() {
    let dir = with_answer("```python\nwith open('name', 'w') as f: n = f.write('x')\n```\n");
    dir.write("occupied", "old");
    let output = dir.run(&["run", "answer.md", "--json", "--out", "occupied"]);
    assert_eq!(output.code, Some(125), "{output}");
    assert!(output.json()["error"]["message"].as_str().unwrap().contains("name"), "{output}");
    assert!(output.stderr.contains("hint:") && !output.stderr.contains("report it"), "{output}");
    assert_eq!(dir.read("occupied"), "old");
    // The control: a directory with the name of an artifact is no failure.
    dir.write("cellblock-out/name/kept", "old");
    let output = dir.run(&["run", "answer.md", "--overwrite"]);
    assert_eq!(output.code, Some(0), "{output}");
    assert!(output.stderr.contains("refused: name: a directory of this name"), "{output}");
    assert_eq!(dir.read("cellblock-out/name/kept"), "old");
}

#[test]
fn names_of_artifacts_are_sanitized() {
    let dir = with_answer(
        "```python\nfor name in ['odd\\x1b[31m.txt', 'fine.txt']: open(name, 'w').close()\n```\n",
    );
    let output = dir.run(&["run", "answer.md"]);
    assert!(!output.stderr.contains('\u{1b}'), "{output}");
    assert_files(&dir.path("cellblock-out"), &["fine.txt"]);
}

#[test]
fn a_chart_becomes_an_artifact() {
    let dir = with_answer(
        "```python\nimport matplotlib.pyplot as plt\nlines = plt.plot([1, 2, 4])\n\
         plt.show()\n```\n",
    );
    let output = dir.run(&["run", "answer.md"]);
    assert_eq!(output.code, Some(0), "{output}");
    let png = std::fs::read(dir.path("cellblock-out/figure-1.png")).unwrap();
    assert!(png.starts_with(b"\x89PNG\r\n\x1a\n"));
}
