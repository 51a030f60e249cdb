//! Runs of every example, as a user runs it, with its recording in place of a model. The code in
//! the recordings runs for real.
//!
//! Without a Docker engine, the example in a container fails if `CELLBLOCK_REQUIRE_DOCKER=1`, and
//! is skipped with a message otherwise.

// The output of a test tells its reader what was skipped.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use regex::Regex;

/// The results of an example.
struct ExampleRun {
    /// The standard output, without the parts that differ between runs.
    transcript: String,
    /// The directory of the files that code made.
    out: tempfile::TempDir,
}

impl ExampleRun {
    /// Asserts that there are exactly these files, and that PNG files contain a picture.
    #[track_caller]
    fn assert_files(&self, expected: &[&str]) {
        let mut names: Vec<_> = std::fs::read_dir(self.out.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, expected);
        for name in names.iter().filter(|name| name.ends_with(".png")) {
            let content = std::fs::read(self.out.path().join(name)).unwrap();
            assert!(content.starts_with(b"\x89PNG\r\n\x1a\n"), "{name} is not a PNG file");
            assert!(content.len() > 10_000, "{name} has {} bytes: it is empty", content.len());
        }
    }
}

/// Runs an example with its recording. It must succeed.
#[track_caller]
fn run(program: &str, arguments: &[&str]) -> ExampleRun {
    let out = tempfile::tempdir().unwrap();
    let mut command = Command::new(program);
    command
        .args(arguments)
        .arg("--out")
        .arg(out.path())
        .env_remove("CELLBLOCK_MODEL")
        .stdin(Stdio::null());
    let output = command.output().unwrap();
    let (stdout, stderr) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{stdout}\n{stderr}", output.status);
    ExampleRun { transcript: normalize(&stdout, out.path()), out }
}

/// Returns a transcript without ids, directories and versions, and without installations that
/// depend on the machine.
fn normalize(transcript: &str, out: &Path) -> String {
    let replace = |text: &str, pattern: &str, with: &str| {
        Regex::new(pattern).unwrap().replace_all(text, with).into_owned()
    };
    let text = transcript.replace(&out.display().to_string(), "[out]");
    let text = replace(&text, r"TERMINATING RUN \([0-9a-f-]{36}\)", "TERMINATING RUN ([id])");
    // Fonts and versions of matplotlib differ between executors.
    let text = replace(&text, r"<image image/png, [0-9.]+ KiB>", "<image image/png, [size]>");
    // The local executor uses the machine's Python, which may or may not have matplotlib.
    let text = replace(&text, r"\n>>>>>>>> INSTALL(ING|ED) [^\n]*matplotlib[^\n]*\n", "");
    replace(&text, r"==[0-9][0-9.]*", "==[version]")
}

/// Runs an example, and compares its transcript with the approved one.
macro_rules! example {
    ($name:literal) => {{
        let run = run(env!(concat!("CARGO_BIN_EXE_", $name)), &[]);
        insta::assert_snapshot!($name, run.transcript);
        run
    }};
}

#[test]
fn joke() {
    example!("joke").assert_files(&[]);
}

#[test]
fn joke_in_korean() {
    let run = run(env!("CARGO_BIN_EXE_joke"), &["NVDA나 TESLA 주식 가격에 대한 농담을 해봐"]);
    insta::assert_snapshot!("joke_in_korean", run.transcript);
}

/// The transcript is the same for every executor.
fn stock_chart(executor: &str) {
    let run = run(env!("CARGO_BIN_EXE_stock_chart"), &[executor]);
    insta::assert_snapshot!("stock_chart", run.transcript);
    // The code is saved, too, because it has a file name.
    run.assert_files(&["figure-1.png", "plot_stocks.py"]);
}

#[test]
fn stock_chart_in_webassembly() {
    stock_chart("wasi");
}

#[test]
fn stock_chart_in_a_local_cell() {
    stock_chart("local");
}

#[test]
fn stock_chart_in_a_container() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if let Err(error) = runtime.block_on(cellblock_docker::Engine::connect()) {
        let required =
            std::env::var_os("CELLBLOCK_REQUIRE_DOCKER").is_some_and(|value| value == "1");
        assert!(!required, "CELLBLOCK_REQUIRE_DOCKER=1, but there is no Docker engine: {error:?}");
        println!("skipped: no Docker engine: {}", cellblock_exec::with_causes(&error));
        return;
    }
    runtime
        .block_on(cellblock_docker::pull(cellblock_docker::DEFAULT_IMAGE, &cellblock_exec::Silent))
        .unwrap();
    stock_chart("docker");
}

#[test]
fn an_unknown_executor_is_an_error() {
    let output = Command::new(env!("CARGO_BIN_EXE_stock_chart")).arg("cloud").output().unwrap();
    assert!(!output.status.success());
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.contains("there is no executor `cloud`; choose wasi, docker or local"),
        "{stderr}"
    );
}

#[test]
fn percent_change() {
    let run = example!("percent_change");
    run.assert_files(&["figure-1.png", "figure-2.png", "plot_change.py", "plot_percent.py"]);
    let first = std::fs::read(run.out.path().join("figure-1.png")).unwrap();
    let second = std::fs::read(run.out.path().join("figure-2.png")).unwrap();
    assert_ne!(first, second, "the second chart equals the first");
}

#[test]
fn translate_and_summarise() {
    example!("translate_and_summarise");
}

#[test]
fn code_review() {
    example!("code_review");
}

#[test]
fn design_round_table() {
    example!("design_round_table");
}

#[test]
fn with_human_a_person_takes_the_place_of_the_script() {
    let ask = |input: &[u8]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_design_round_table"));
        command.arg("--human").env_remove("CELLBLOCK_MODEL");
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.success(), text(output.stdout), text(output.stderr))
    };
    let (success, transcript, stderr) = ask("And for children?\nexit\n".as_bytes());
    assert!(success, "{stderr}");
    assert!(transcript.contains("user (to chat_manager):\n\nAnd for children?\n"), "{transcript}");
    assert!(transcript.contains("Borrow this one"), "{transcript}");
    // Standard input is empty.
    let (success, _, stderr) = ask(b"");
    assert!(!success);
    assert!(stderr.contains("the person behind `user` cannot be asked"), "{stderr}");
}

#[test]
fn project_manager() {
    example!("project_manager");
}

#[test]
fn paper_summary() {
    example!("paper_summary");
}

#[test]
fn customer_support() {
    example!("customer_support");
}

#[test]
fn host_tools() {
    example!("host_tools");
}

/// Recordings that a person wrote say so, so that nobody takes them for a model's words.
#[test]
fn recordings_say_that_they_were_written_by_hand() {
    let recordings = Path::new(env!("CARGO_MANIFEST_DIR")).join("recordings");
    let files: Vec<_> =
        std::fs::read_dir(recordings).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 10);
    for file in files {
        let replay = cellblock_models::Replay::read(&file).unwrap();
        assert_eq!(
            replay.header.made,
            cellblock_models::replay::RecordingOrigin::ByHand,
            "{}",
            file.display()
        );
        assert!(replay.header.note.contains("ritten by hand"), "{}", file.display());
    }
}
