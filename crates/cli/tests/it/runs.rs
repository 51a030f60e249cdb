//! Runs, in the sandbox.

use insta::assert_snapshot;

use crate::command::{Gave, Place, assert_files, need_image};

/// A place with an answer, and the image ready.
fn place(answer: &str) -> Place {
    need_image();
    let place = Place::new();
    place.write("answer.md", answer);
    place
}

/// The output without what differs from run to run.
fn stable(gave: Gave) -> String {
    let mut settings = gave.to_string();
    for line in gave.stderr.lines().filter(|line| line.contains(" in ") && line.contains(" s")) {
        let (before, after) = line.split_once(" in ").unwrap();
        let after = after.split_once(" s").map(|(_, after)| after).unwrap_or_default();
        settings = settings.replace(line, &format!("{before} in [TIME] s{after}"));
    }
    settings
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
with open('out/sum.txt' if False else 'sum.txt', 'w') as f: n = f.write(str(sum(int(row['price']) for row in rows)))
```

```python
print(rows[0]['price'])
print('no line end', end='')
```
";

#[test]
fn an_answer() {
    let place = place(THREE);
    let gave = place.run(&["run", "answer.md"]);
    assert_eq!(gave.code, Some(0), "{gave}");
    assert_snapshot!(stable(gave));
    assert_eq!(place.read("cellblock-out/sum.txt"), "22");
    assert_files(&place.path("cellblock-out"), &["prices.csv", "sum.txt"]);
    assert_files(&place.path(""), &["answer.md", "cellblock-out"]);
}

#[test]
fn an_answer_as_json() {
    let place = place(THREE);
    let gave = place.run(&["run", "answer.md", "--json", "--out", "charts"]);
    assert_eq!((gave.code, gave.stderr.as_str()), (Some(0), ""), "{gave}");
    let json = gave.json();
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
    assert_eq!(place.read("charts/sum.txt"), "22");
}

#[test]
fn the_first_failure_stops_the_run() {
    let place = place(
        "```python\nprint('a')\n```\n```python\nprint('b')\nraise SystemExit(3)\n```\n```python\nprint('c')\n```\n",
    );
    let gave = place.run(&["run", "answer.md"]);
    assert_eq!((gave.code, gave.stdout.as_str()), (Some(1), "a\nb\n"), "{gave}");
    assert_snapshot!(stable(gave));
}

#[test]
fn exit_status_tells_why() {
    let place = place("```ruby\nputs 1\n```\n");
    assert_snapshot!("unsupported", stable(place.run(&["run", "answer.md", "--executor", "wasi"])));
    let place = self::place("```python:../../evil.py\nprint('ran')\n```\n");
    assert_snapshot!("denied", stable(place.run(&["run", "answer.md"])));
    let gave = place.run(&[
        "exec",
        "-l",
        "python",
        "-c",
        "print('before', flush=True)\nwhile True: pass",
        "--timeout",
        "1s",
    ]);
    assert_eq!((gave.code, gave.stdout.as_str()), (Some(124), "before\n"), "{gave}");
    assert_snapshot!("timeout", stable(gave));
    let gave = place.run(&["exec", "-l", "python", "-c", "import nowhere_to_be_found_x"]);
    assert_eq!(gave.code, Some(1), "{gave}");
    assert!(
        gave.stderr.contains("ModuleNotFoundError") && gave.stderr.contains("allow list"),
        "{gave}"
    );
    let gave = place.run(&["run", "--json", "--memory", "1k", "--executor", "wasi", "answer.md"]);
    assert!(matches!(gave.code, Some(2 | 126)), "{gave}");
    assert_eq!(gave.json()["blocks"], serde_json::json!([]));
    let gave = place.run(&[
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
    assert!(gave.stderr.contains("no-such-image") && matches!(gave.code, Some(2 | 125)), "{gave}");
}

#[test]
fn exec_gives_the_output_and_nothing_else() {
    need_image();
    let place = Place::new();
    let gave = place.run(&["exec", "-l", "python", "-c", "print(6 * 7)"]);
    assert_eq!(
        (gave.code, gave.stdout.as_str(), gave.stderr.as_str()),
        (Some(0), "42\n", ""),
        "{gave}"
    );
    let gave = place.run_with(&["exec", "-l", "python", "-"], b"print('from stdin')");
    assert_eq!((gave.code, gave.stdout.as_str()), (Some(0), "from stdin\n"), "{gave}");
    place
        .write("tool.py", "import sys\nprint(sys.stdin.read().upper(), end='')\n")
        .write("in.txt", "héllo\n");
    let gave = place.run(&["exec", "tool.py", "--stdin", "in.txt"]);
    assert_eq!((gave.code, gave.stdout.as_str()), (Some(0), "HÉLLO\n"), "{gave}");
}

#[test]
fn bytes_pass_a_pipe_unchanged() {
    need_image();
    let code =
        r"import sys; n = sys.stdout.buffer.write(b'\x1b[31m\xff\xfe\r\x07'); sys.stdout.flush()";
    let output = Place::new().command(&["exec", "-l", "python", "-c", code]).output().unwrap();
    assert_eq!(output.stdout, b"\x1b[31m\xff\xfe\r\x07");
}

#[test]
fn the_end_of_long_output_is_shown() {
    need_image();
    let code = "for i in range(100_000): print(f'line {i:06}')";
    let gave = Place::new().run(&["exec", "-l", "python", "-c", code, "--output-limit", "64k"]);
    assert_eq!(gave.code, Some(0), "{}", gave.stderr);
    assert!(gave.stdout.starts_with("line 000000\n") && gave.stdout.ends_with("line 099999\n"));
    assert!(gave.stdout.len() < 100 * 1024, "{} bytes", gave.stdout.len());
    assert!(gave.stderr.contains("--output-limit"), "{}", gave.stderr);
}

#[test]
fn a_workspace_goes_in_and_what_is_unsafe_is_named() {
    let place = place(
        "```python\nimport os\nprint(sorted(os.listdir('.')), open('sub/a.csv').read())\n```\n",
    );
    place.write("in/sub/a.csv", "1,2").write("in/large.bin", vec![0; 3 << 20]);
    std::os::unix::fs::symlink("/etc/passwd", place.path("in/link")).unwrap();
    let gave = place.run(&["run", "answer.md", "--workspace", "in", "--disk", "2m"]);
    assert_eq!((gave.code, gave.stdout.as_str()), (Some(0), "['sub'] 1,2\n"), "{gave}");
    assert!(gave.stderr.contains("link: left out, it is a symbolic link"), "{gave}");
    assert!(gave.stderr.contains("large.bin: left out, it is too large"), "{gave}");
    assert_files(&place.path(""), &["answer.md", "in"]);
}

#[test]
fn fresh_blocks_share_nothing() {
    let answer = "```python\nx = 1\n```\n```python\nprint('x' in globals())\n```\n";
    let place = place(answer);
    assert_eq!(place.run(&["run", "answer.md"]).stdout, "True\n");
    assert_eq!(place.run(&["run", "answer.md", "--fresh"]).stdout, "False\n");
}

#[test]
fn an_artifact_that_cannot_be_written_is_a_failure_of_ours() {
    let place = place("```python\nwith open('name', 'w') as f: n = f.write('x')\n```\n");
    place.write("occupied", "old");
    let gave = place.run(&["run", "answer.md", "--json", "--out", "occupied"]);
    assert_eq!(gave.code, Some(125), "{gave}");
    assert!(gave.json()["error"]["message"].as_str().unwrap().contains("name"), "{gave}");
    assert!(gave.stderr.contains("hint:") && !gave.stderr.contains("report it"), "{gave}");
    assert_eq!(place.read("occupied"), "old");
    // The control: what is in the way of a name is no failure.
    place.write("cellblock-out/name/kept", "old");
    let gave = place.run(&["run", "answer.md", "--overwrite"]);
    assert_eq!(gave.code, Some(0), "{gave}");
    assert!(gave.stderr.contains("not taken: name: a directory of that name"), "{gave}");
    assert_eq!(place.read("cellblock-out/name/kept"), "old");
}

#[test]
fn names_of_artifacts_do_no_harm() {
    let place = place(
        "```python\nfor name in ['odd\\x1b[31m.txt', 'fine.txt']: open(name, 'w').close()\n```\n",
    );
    let gave = place.run(&["run", "answer.md"]);
    assert!(!gave.stderr.contains('\u{1b}'), "{gave}");
    assert_files(&place.path("cellblock-out"), &["fine.txt"]);
}

#[test]
fn a_chart_comes_out() {
    let place = place(
        "```python\nimport matplotlib.pyplot as plt\nlines = plt.plot([1, 2, 4])\nplt.show()\n```\n",
    );
    let gave = place.run(&["run", "answer.md"]);
    assert_eq!(gave.code, Some(0), "{gave}");
    let png = std::fs::read(place.path("cellblock-out/figure-1.png")).unwrap();
    assert!(png.starts_with(b"\x89PNG\r\n\x1a\n"));
}
