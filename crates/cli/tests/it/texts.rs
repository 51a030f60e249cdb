//! Help texts, extraction, and messages about invalid input: no sandbox is needed.

use insta::assert_snapshot;

use crate::command::TestDir;

/// Blocks with a file name, without a file name, and with a file name that is refused.
const ANSWER: &str = "Here is the plan.\n\n\
    ```python\n# filename: plot.py\nprint('a')\n```\n\n\
    - then\n\n  ~~~json title=\"x\"\n  {\"a\": 1}\n  ~~~\n\n\
    ```python:../../evil.py\nprint('b')\n```\n";

#[test]
fn help() {
    let dir = TestDir::new();
    for name in [
        "",
        "run",
        "exec",
        "chat",
        "extract",
        "image",
        "image pull",
        "image extend",
        "environment",
        "doctor",
        "completions",
        "man",
    ] {
        let mut args: Vec<&str> = name.split_whitespace().collect();
        args.push("--help");
        assert_snapshot!(format!("help {name}").trim().replace(' ', "-"), dir.run(&args));
    }
    assert_snapshot!("help-short", dir.run(&["-h"]));
}

#[test]
fn no_arguments() {
    assert_snapshot!(TestDir::new().run(&[]));
}

#[test]
fn extract() {
    let dir = TestDir::new();
    dir.write("answer.md", ANSWER);
    assert_snapshot!("extract", dir.run(&["extract", "answer.md"]));
    assert_snapshot!("extract-json", dir.run(&["extract", "answer.md", "--json"]));
    assert_eq!(
        dir.run_with(&["extract", "--json"], ANSWER.as_bytes()).json().as_array().unwrap().len(),
        3
    );
}

#[test]
fn extract_sanitizes_code_for_people_and_not_for_programs() {
    let dir = TestDir::new();
    dir.write("answer.md", "```python\nprint('\u{1b}]0;x\u{7}')\n```\n");
    assert!(!dir.run(&["extract", "answer.md"]).stdout.contains('\u{1b}'));
    let json = dir.run(&["extract", "answer.md", "--json"]).json();
    assert_eq!(json[0]["code"], "print('\u{1b}]0;x\u{7}')\n");
}

#[test]
fn invalid_answers() {
    let dir = TestDir::new();
    dir.write("prose.md", "Only words.\n")
        .write("empty.md", "")
        .write("blank.md", " \n\n")
        .write("bytes.md", b"ok \xff\xfe");
    dir.write("data.md", "```json\n{}\n```\n").write("directory/x", "");
    for file in ["prose.md", "empty.md", "blank.md", "bytes.md", "missing.md", "directory"] {
        let output = dir.run(&["run", file]);
        assert_snapshot!(format!("no-answer-{file}"), output);
        assert_eq!((output.code, output.stdout.as_str()), (Some(2), ""));
        let extracted = dir.run(&["extract", file]);
        assert_eq!(
            (extracted.code, extracted.stdout, extracted.stderr),
            (Some(2), String::new(), output.stderr)
        );
    }
    assert_snapshot!("no-answer-data.md", dir.run(&["run", "data.md"]));
    assert_eq!(dir.run(&["extract", "data.md"]).code, Some(0));
    assert_snapshot!("no-answer-stdin", dir.run(&["run"]));
}

#[test]
fn with_json_a_failure_is_one_object_too() {
    let dir = TestDir::new();
    dir.write("prose.md", "Only words.\n");
    let output = dir.run(&["run", "prose.md", "--json"]);
    assert_snapshot!(output);
    assert_eq!(output.json()["exit_code"], 2);
    assert_eq!(
        dir.run(&["run", "prose.md", "--json", "--executor", "moon"]).json()["exit_code"],
        2
    );
}

#[test]
fn invalid_values() {
    let dir = TestDir::new();
    dir.write("answer.md", ANSWER);
    for (name, args) in [
        ("timeout-0", ["--timeout", "0"]),
        ("timeout-soon", ["--timeout", "soon"]),
        ("memory-0", ["--memory", "0"]),
        ("memory-much", ["--memory", "much"]),
        ("install-maybe", ["--install", "maybe"]),
        ("package-name", ["--allow-package", "a b"]),
        ("executor-moon", ["--executor", "moon"]),
        ("isolation-strong", ["--isolation", "strong"]),
        ("allow-host-port", ["--allow-host", "example.org:http"]),
        ("mount-relative", ["--mount", "data:/data"]),
        ("files-none", ["--files", "0"]),
        ("workspace-missing", ["--workspace", "missing"]),
    ] {
        let output = dir.run(&["run", "answer.md", args[0], args[1]]);
        assert_snapshot!(format!("value-{name}"), output);
        assert_eq!(output.code, Some(2));
    }
    assert_snapshot!("value-exec-both", dir.run(&["exec", "-c", "1", "file.py"]));
    assert_snapshot!("value-exec-unknown", dir.run(&["exec", "-c", "??"]));
}

#[test]
fn completions_and_manual() {
    let dir = TestDir::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = dir.run(&["completions", shell]);
        assert_eq!(output.code, Some(0), "{output}");
        assert!(
            output.stdout.contains("output-limit") && output.stderr.is_empty(),
            "{shell}: {output}"
        );
    }
    let page = dir.run(&["man"]);
    assert_eq!(page.code, Some(0));
    for part in [
        ".TH cellblock",
        "CELLBLOCK RUN",
        "CELLBLOCK CHAT",
        "CELLBLOCK IMAGE",
        "\\-\\-timeout",
        "Exit status",
    ] {
        assert!(page.stdout.contains(part), "{part}");
    }
}

#[test]
fn colour_is_for_terminals_or_on_request() {
    let dir = TestDir::new();
    dir.write("answer.md", ANSWER);
    let coloured = |variable: &str, value: &str| {
        let output = dir.command(&["extract", "answer.md"]).env(variable, value).output().unwrap();
        output.stdout.contains(&0x1b)
    };
    assert!(!coloured("SOME_OTHER", "1"));
    assert!(coloured("CLICOLOR_FORCE", "1"));
    let output = dir
        .command(&["extract", "answer.md"])
        .env("CLICOLOR_FORCE", "1")
        .env("NO_COLOR", "1")
        .output()
        .unwrap();
    assert!(!output.stdout.contains(&0x1b), "NO_COLOR wins");
}
