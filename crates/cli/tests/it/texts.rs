//! What needs no sandbox: help, extraction, and what bad input gets.

use insta::assert_snapshot;

use crate::command::Place;

/// Two blocks, one of them without a language tag, and one with a name that must not be used.
const ANSWER: &str = "Here is the plan.\n\n```python\n# filename: plot.py\nprint('a')\n```\n\n- then\n\n  ~~~json title=\"x\"\n  \
                      {\"a\": 1}\n  ~~~\n\n```python:../../evil.py\nprint('b')\n```\n";

#[test]
fn help() {
    let place = Place::new();
    for name in [
        "",
        "run",
        "exec",
        "chat",
        "extract",
        "image",
        "image pull",
        "image extend",
        "doctor",
        "completions",
        "man",
    ] {
        let mut args: Vec<&str> = name.split_whitespace().collect();
        args.push("--help");
        assert_snapshot!(format!("help {name}").trim().replace(' ', "-"), place.run(&args));
    }
    assert_snapshot!("help-short", place.run(&["-h"]));
}

#[test]
fn no_arguments() {
    assert_snapshot!(Place::new().run(&[]));
}

#[test]
fn extract() {
    let place = Place::new();
    place.write("answer.md", ANSWER);
    assert_snapshot!("extract", place.run(&["extract", "answer.md"]));
    assert_snapshot!("extract-json", place.run(&["extract", "answer.md", "--json"]));
    assert_eq!(
        place.run_with(&["extract", "--json"], ANSWER.as_bytes()).json().as_array().unwrap().len(),
        3
    );
}

#[test]
fn extract_makes_code_harmless_for_people_and_exact_for_programs() {
    let place = Place::new();
    place.write("answer.md", "```python\nprint('\u{1b}]0;x\u{7}')\n```\n");
    assert!(!place.run(&["extract", "answer.md"]).stdout.contains('\u{1b}'));
    let json = place.run(&["extract", "answer.md", "--json"]).json();
    assert_eq!(json[0]["code"], "print('\u{1b}]0;x\u{7}')\n");
}

#[test]
fn input_that_is_no_answer() {
    let place = Place::new();
    place
        .write("prose.md", "Only words.\n")
        .write("empty.md", "")
        .write("blank.md", " \n\n")
        .write("bytes.md", b"ok \xff\xfe");
    place.write("data.md", "```json\n{}\n```\n").write("directory/x", "");
    for file in ["prose.md", "empty.md", "blank.md", "bytes.md", "missing.md", "directory"] {
        let gave = place.run(&["run", file]);
        assert_snapshot!(format!("no-answer-{file}"), gave);
        assert_eq!((gave.code, gave.stdout.as_str()), (Some(2), ""));
        let extracted = place.run(&["extract", file]);
        assert_eq!(
            (extracted.code, extracted.stdout, extracted.stderr),
            (Some(2), String::new(), gave.stderr)
        );
    }
    assert_snapshot!("no-answer-data.md", place.run(&["run", "data.md"]));
    assert_eq!(place.run(&["extract", "data.md"]).code, Some(0));
    assert_snapshot!("no-answer-stdin", place.run(&["run"]));
}

#[test]
fn with_json_a_failure_is_one_object_too() {
    let place = Place::new();
    place.write("prose.md", "Only words.\n");
    let gave = place.run(&["run", "prose.md", "--json"]);
    assert_snapshot!(gave);
    assert_eq!(gave.json()["exit_code"], 2);
    assert_eq!(
        place.run(&["run", "prose.md", "--json", "--executor", "moon"]).json()["exit_code"],
        2
    );
}

#[test]
fn values_that_make_no_sense() {
    let place = Place::new();
    place.write("answer.md", ANSWER);
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
        let gave = place.run(&["run", "answer.md", args[0], args[1]]);
        assert_snapshot!(format!("value-{name}"), gave);
        assert_eq!(gave.code, Some(2));
    }
    assert_snapshot!("value-exec-both", place.run(&["exec", "-c", "1", "file.py"]));
    assert_snapshot!("value-exec-unknown", place.run(&["exec", "-c", "??"]));
}

#[test]
fn completions_and_manual() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let gave = place.run(&["completions", shell]);
        assert_eq!(gave.code, Some(0), "{gave}");
        assert!(gave.stdout.contains("output-limit") && gave.stderr.is_empty(), "{shell}: {gave}");
    }
    let page = place.run(&["man"]);
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
    let place = Place::new();
    place.write("answer.md", ANSWER);
    let coloured = |variable: &str, value: &str| {
        let output =
            place.command(&["extract", "answer.md"]).env(variable, value).output().unwrap();
        output.stdout.contains(&0x1b)
    };
    assert!(!coloured("SOME_OTHER", "1"));
    assert!(coloured("CLICOLOR_FORCE", "1"));
    let output = place
        .command(&["extract", "answer.md"])
        .env("CLICOLOR_FORCE", "1")
        .env("NO_COLOR", "1")
        .output()
        .unwrap();
    assert!(!output.stdout.contains(&0x1b), "NO_COLOR wins");
}
