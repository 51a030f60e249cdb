//! The run of an answer.

mod installs;
mod reports;

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use cellblock_answer::{
    CodeBlock,
    run::{
        BlockReport, Observer, RunOptions, RunReport, run_blocks, run_blocks_apart, run_blocks_in,
    },
};
use cellblock_conformance::double::Double;
use cellblock_exec::{
    Executor as _, Language, Outcome, Requirement, SessionSpec, Stream, workspace::workspace_path,
};

/// Python blocks with this code.
fn python(codes: &[&str]) -> Vec<CodeBlock> {
    let block = |(index, code): (usize, &&str)| CodeBlock {
        index,
        language: Some(Language::PYTHON),
        line: 1 + 10 * index,
        code: (*code).into(),
        ..CodeBlock::default()
    };
    codes.iter().enumerate().map(block).collect()
}

async fn run(executor: &Double, blocks: &[CodeBlock], options: &RunOptions) -> RunReport {
    let spec = SessionSpec::default();
    checked(executor, blocks, run_blocks(executor, &spec, blocks, options, Arc::new(())).await)
}

/// Checks the invariants of every run.
fn checked(
    executor: &Double,
    blocks: &[CodeBlock],
    report: cellblock_exec::Result<RunReport>,
) -> RunReport {
    let report = report.unwrap();
    assert_eq!(
        executor.open.load(std::sync::atomic::Ordering::SeqCst),
        0,
        "a session was left open"
    );
    assert_eq!(report.blocks.len(), blocks.len(), "every block has its report");
    report
}

fn kinds(report: &RunReport) -> Vec<String> {
    let kind = |block: &BlockReport| {
        let outcome = serde_json::to_value(&block.outcome).unwrap();
        outcome["kind"].as_str().unwrap().to_owned()
    };
    report.blocks.iter().map(kind).collect()
}

/// An observer that records a line for each call.
#[derive(Default)]
struct Listener {
    heard: Mutex<Vec<String>>,
    approves: bool,
}

impl Listener {
    fn hear(&self, what: String) {
        self.heard.lock().unwrap().push(what);
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

#[async_trait]
impl Observer for Listener {
    fn started(&self, block: &CodeBlock) {
        self.hear(format!("started {}", block.index));
    }
    fn output(&self, stream: Stream, bytes: &[u8]) {
        if !bytes.is_empty() && stream == Stream::Stdout {
            self.hear(format!("output {}", String::from_utf8_lossy(bytes).trim()));
        }
    }
    fn installing(&self, packages: &[Requirement]) {
        self.hear(format!("installing {}", packages[0]));
    }
    fn installed(&self, packages: &[String]) {
        self.hear(format!("installed {packages:?}"));
    }
    fn retrying(&self, block: &CodeBlock) {
        self.hear(format!("retrying {}", block.index));
    }
    fn finished(&self, report: &mut BlockReport) {
        self.hear(format!("finished {}", report.index));
    }
    async fn approve(&self, packages: &[Requirement]) -> bool {
        self.hear(format!("approve {}", packages[0]));
        self.approves
    }
}

#[tokio::test]
async fn blocks_share_a_session() {
    let executor = Double::default();
    let report = run(&executor, &python(&["x = hello", "print x"]), &RunOptions::default()).await;
    assert_eq!((report.exit_code, report.blocks[1].stdout.as_str()), (0, "hello\n"));
    assert_eq!(report.blocks[1].attempts.len(), 1);
    assert_eq!(executor.opened.load(std::sync::atomic::Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_session_can_go_on_over_several_answers() {
    let executor = Double::default();
    let mut session = executor.open(SessionSpec::default()).await.unwrap();
    let options = RunOptions::default();
    for (code, stdout) in
        [("x = hello", ""), ("print x", "hello\n"), ("exit 1", ""), ("print x", "hello\n")]
    {
        let report =
            run_blocks_in(session.as_mut(), &executor, &python(&[code]), &options, Arc::new(()))
                .await;
        assert_eq!(
            (report.blocks[0].stdout.as_str(), report.exit_code),
            (stdout, u8::from(code == "exit 1"))
        );
    }
}

#[tokio::test]
async fn fresh_blocks_share_nothing() {
    let executor = Double::default();
    let (spec, blocks) = (SessionSpec::default(), python(&["x = hello", "print x"]));
    let options = RunOptions::default();
    let report = run_blocks_apart(&executor, &spec, &blocks, &options, Arc::new(())).await;
    let report = checked(&executor, &blocks, report);
    assert_eq!((report.exit_code, report.blocks[1].stdout.as_str()), (0, "x\n"));
    assert_eq!(executor.opened.load(std::sync::atomic::Ordering::SeqCst), 2);
}

#[tokio::test]
async fn the_first_failure_stops_the_run() {
    let report =
        run(&Double::default(), &python(&["print a", "exit 7", "print b"]), &RunOptions::default())
            .await;
    assert_eq!(kinds(&report), ["exited", "exited", "skipped"]);
    assert_eq!(report.exit_code, 1, "a block's own exit code is in its outcome");
    assert_eq!(report.blocks[1].outcome, Outcome::Exited { code: 7 });
    assert!(report.blocks[2].attempts.is_empty() && report.blocks[2].stdout.is_empty());
}

#[tokio::test]
async fn exit_codes_tell_the_kinds_apart() {
    for (code, expected) in [("print x", 0), ("exit 3", 1), ("timeout", 124), ("break", 125)] {
        let report =
            run(&Double::default(), &python(&[code, "print x"]), &RunOptions::default()).await;
        assert_eq!(report.exit_code, expected, "{code}");
    }
}

#[tokio::test]
async fn a_block_that_cannot_run_is_named_with_what_could_run_it() {
    let mut blocks = python(&["puts 1"]);
    blocks[0].language = Some(Language::new("ruby"));
    let report = run(&Double::default(), &blocks, &RunOptions::default()).await;
    let Outcome::Unsupported { what } = &report.blocks[0].outcome else { panic!("{report:?}") };
    assert_eq!(
        what,
        "ruby: the double executor runs python; no other available executor runs ruby; \
            run the block yourself, or ask for python"
    );
    assert_eq!(report.exit_code, 126);

    let elsewhere =
        vec![("box".into(), vec![Language::new("ruby")]), ("other".into(), vec![Language::PYTHON])];
    let report =
        run(&Double::default(), &blocks, &RunOptions { elsewhere, ..RunOptions::default() }).await;
    let Outcome::Unsupported { what } = &report.blocks[0].outcome else { panic!("{report:?}") };
    assert_eq!(what, "ruby: the double executor runs python; use the executor `box`");

    blocks[0].language = None;
    let report = run(&Double::default(), &blocks, &RunOptions::default()).await;
    let Outcome::Unsupported { what } = &report.blocks[0].outcome else { panic!("{report:?}") };
    assert!(what.contains("no language"), "{what}");
}

#[tokio::test]
async fn a_block_with_an_unsafe_name_is_denied() {
    let mut blocks = python(&["print ran", "print ran"]);
    blocks[0].refused_filename = workspace_path("../../etc/cron.d/x").err();
    let report = run(&Double::default(), &blocks, &RunOptions::default()).await;
    let Outcome::Denied { what } = &report.blocks[0].outcome else { panic!("{report:?}") };
    assert!(what.contains("../../etc/cron.d/x"), "{what}");
    assert_eq!((report.exit_code, report.blocks[0].stdout.as_str()), (126, ""));
}

/// Data with a name that tools of the host obey is saved in the workspace, and is no artifact.
#[tokio::test]
async fn data_with_the_name_of_version_control_is_no_artifact() {
    let mut blocks = python(&["[core]", "read .git/config"]);
    blocks[0].language = Some(Language::new("ini"));
    blocks[0].filename = Some(".git/config".into());
    let report = run(&Double::default(), &blocks, &RunOptions::default()).await;
    assert_eq!(kinds(&report), ["skipped", "exited"]);
    assert_eq!(report.exit_code, 0, "{report:?}");
    assert!(report.blocks[0].artifacts.is_empty(), "{report:?}");
    assert_eq!(report.blocks[0].refused[0].path, ".git");
    assert_eq!(report.blocks[1].stdout, "[core]\n");
}

#[tokio::test]
async fn data_is_saved_and_not_run() {
    let mut blocks = python(&["{\"a\": 1}", "print x", "import config"]);
    blocks[0].language = Some(Language::new("json"));
    blocks[0].filename = Some("config.py".into());
    let report = run(&Double::default(), &blocks, &RunOptions::default()).await;
    assert_eq!(kinds(&report), ["skipped", "exited", "exited"]);
    assert_eq!(report.exit_code, 0, "{report:?}");
    assert_eq!(*report.blocks[0].artifacts[0].content, b"{\"a\": 1}");

    blocks[0].filename = None;
    let report = run(&Double::default(), &blocks[..2], &RunOptions::default()).await;
    assert!(report.blocks[0].artifacts.is_empty() && report.exit_code == 0, "{report:?}");
    assert_eq!(report.blocks[0].notes, ["a json block is data; it was not run"]);
}

#[tokio::test]
async fn each_block_reads_stdin_from_the_beginning() {
    let options = RunOptions { stdin: Arc::new(b"in\n".to_vec()), ..RunOptions::default() };
    let report = run(&Double::default(), &python(&["stdin", "stdin"]), &options).await;
    assert_eq!(
        (report.blocks[0].stdout.as_str(), report.blocks[1].stdout.as_str()),
        ("in\n", "in\n")
    );
}

#[tokio::test]
async fn cancelling_ends_the_block_and_skips_the_rest() {
    let options = RunOptions::default();
    let cancel = options.cancel.clone();
    tokio::spawn(async move {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        cancel.cancel();
    });
    let report =
        run(&Double::default(), &python(&["print a", "print b\nsleep", "print c"]), &options).await;
    assert_eq!(kinds(&report), ["exited", "cancelled", "skipped"]);
    assert_eq!((report.exit_code, report.blocks[1].stdout.as_str()), (130, "b\n"));

    let report = run(&Double::default(), &python(&["print a", "print b"]), &options).await;
    assert_eq!(kinds(&report), ["cancelled", "skipped"]);
}

#[tokio::test]
async fn a_session_that_does_not_open_is_an_error() {
    let options = RunOptions::default();
    let mut spec = SessionSpec::default();
    spec.limits.wall = std::time::Duration::ZERO;
    let (executor, blocks) = (Double::default(), python(&["print a"]));
    for run in [run_blocks, run_blocks_apart] {
        let error = run(&executor, &spec, &blocks, &options, Arc::new(())).await.unwrap_err();
        assert_eq!(error.to_string(), "invalid wall time: 0 leaves no time to run");
    }
    let report = run(&Double::default(), &[], &options).await;
    assert_eq!(report.exit_code, 0, "no block, no session");
}

#[tokio::test]
async fn a_sandbox_that_breaks_is_told_beside_what_was_reached() {
    let report =
        run(&Double::default(), &python(&["print a", "break", "print c"]), &RunOptions::default())
            .await;
    assert_eq!(kinds(&report), ["exited", "skipped", "skipped"]);
    assert_eq!(report.blocks[0].stdout, "a\n");
    let failed: Vec<_> = report.blocks.iter().map(|block| block.sandbox_failed).collect();
    assert_eq!(failed, [false, true, false]);
    let error = report.error.unwrap();
    assert_eq!(
        (error.message.as_str(), error.causes),
        ("lost the session: the double", vec!["it was told to break".into()])
    );
}

#[tokio::test]
async fn an_observer_hears_all_in_order() {
    let listener = Arc::new(Listener::default());
    let blocks = python(&["print a", "import humanize\nprint b", "exit 1", "print c"]);
    let (executor, spec) = (Double::default(), SessionSpec::default());
    let options = RunOptions::default();
    run_blocks(&executor, &spec, &blocks, &options, listener.clone()).await.unwrap();
    let expected = [
        "started 0",
        "output a",
        "finished 0",
        "started 1",
        "installing humanize",
        "installed [\"humanize==1.0\"]",
        "retrying 1",
        "output b",
        "finished 1",
        "started 2",
        "finished 2",
        "finished 3",
    ];
    assert_eq!(listener.heard(), expected);
}
