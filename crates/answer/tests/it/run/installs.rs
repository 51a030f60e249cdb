//! The install-and-retry loop.

use std::sync::{Arc, atomic::Ordering};

use cellblock_answer::{
    packages::{InstallMode, InstallPolicy},
    run::{RunOptions, run_blocks, run_blocks_apart},
};
use cellblock_conformance::double::{Counter, Double};
use cellblock_exec::{InputFile, Language, Outcome, SessionSpec};

use super::{Listener, kinds, python, run};

fn policy(mode: InstallMode) -> RunOptions {
    RunOptions {
        install: InstallPolicy { mode, ..InstallPolicy::default() },
        ..RunOptions::default()
    }
}

fn asked(executor: &Double) -> Vec<String> {
    executor.asked.lock().unwrap().clone()
}

#[tokio::test]
async fn a_missing_module_is_installed_and_the_block_runs_again() {
    let executor = Double::default();
    let report = run(
        &executor,
        &python(&["print start\nimport sklearn.svm\nprint done"]),
        &RunOptions::default(),
    )
    .await;
    let block = &report.blocks[0];
    assert_eq!(
        (report.exit_code, block.stdout.as_str(), block.stderr.as_str()),
        (0, "start\ndone\n", "")
    );
    assert_eq!(block.installed, ["scikit-learn==1.0"]);
    assert_eq!(block.attempts.len(), 2);
    let first = &block.attempts[0];
    assert_eq!(first.outcome, Outcome::Exited { code: 1 });
    assert_eq!(
        (&first.missing, &first.installed),
        (&vec!["sklearn.svm".into()], &vec!["scikit-learn==1.0".into()])
    );
    assert_eq!(first.stdout.as_deref(), Some("start\n"));
    assert!(first.stderr.as_deref().unwrap().contains("ModuleNotFoundError"));
    assert_eq!((&block.attempts[1].stdout, &block.attempts[1].stderr), (&None, &None));
}

#[tokio::test]
async fn a_block_that_runs_again_calls_nothing_of_the_host_twice() {
    let counter = Arc::new(Counter::default());
    let options = RunOptions { host: Some(counter.clone()), ..RunOptions::default() };
    let code = "call a count {\"x\": 1}\ncall b count {\"x\": 1}\nimport humanize\nimport \
        yaml\ncall c count {\"x\": 1}\nprint a\nprint b\nprint c";
    let report = run(&Double::default(), &python(&[code]), &options).await;
    assert_eq!(
        (report.blocks[0].stdout.as_str(), report.blocks[0].attempts.len()),
        ("1\n2\n3\n", 3)
    );
    assert_eq!(counter.0.load(Ordering::SeqCst), 3);
    // Another block calls the host again.
    let report =
        run(&Double::default(), &python(&["call a count {\"x\": 1}\nprint a"]), &options).await;
    assert_eq!(report.blocks[0].stdout, "4\n");
}

#[tokio::test]
async fn several_missing_modules_take_several_attempts() {
    let code = "import humanize\nimport yaml\nimport requests\nprint done";
    let report = run(&Double::default(), &python(&[code]), &RunOptions::default()).await;
    assert_eq!(report.exit_code, 0, "{report:?}");
    assert_eq!(report.blocks[0].installed, ["humanize==1.0", "pyyaml==1.0", "requests==1.0"]);
    assert_eq!(report.blocks[0].attempts.len(), 4);
}

#[tokio::test]
async fn retries_are_bounded() {
    let executor = Double::default();
    let options = RunOptions { retries: 1, ..RunOptions::default() };
    let report = run(&executor, &python(&["import humanize\nimport yaml"]), &options).await;
    assert_eq!((report.exit_code, report.blocks[0].attempts.len()), (1, 2));
    assert_eq!(asked(&executor), ["humanize"], "nothing is installed that no attempt would use");
    assert_eq!(
        report.blocks[0].notes,
        ["pyyaml was not installed: the limit on retries (1) is reached"]
    );
    assert!(report.blocks[0].stderr.contains("yaml"), "the last attempt's output is the block's");

    let executor = Double::default();
    let options = RunOptions { retries: 0, ..RunOptions::default() };
    let report = run(&executor, &python(&["import humanize"]), &options).await;
    assert_eq!((report.blocks[0].attempts.len(), asked(&executor).len()), (1, 0));
}

#[tokio::test]
async fn an_installation_that_changes_nothing_brings_no_retry() {
    // The package is installed but does not contain the module: the second attempt is the last.
    let executor = Double::default();
    let options = policy(InstallMode::Any);
    let report = run(&executor, &python(&["import emoji"]), &options).await;
    assert_eq!((report.exit_code, report.blocks[0].attempts.len()), (1, 2));
    assert_eq!(asked(&executor), ["emoji"]);

    // The package is installed already, but a part of it that does not exist is imported.
    let executor = Double::default();
    let report = run(&executor, &python(&["import emoji", "import emoji"]), &options).await;
    assert_eq!(report.blocks[0].attempts.len(), 2);
    let blocks = python(&["!pip install emoji", "import emoji.core"]);
    let executor = Double::default();
    let report = run(&executor, &blocks, &options).await;
    assert_eq!((report.blocks[0].attempts.len(), report.blocks[1].attempts.len()), (0, 1));
    assert_eq!(
        report.blocks[1].notes,
        ["emoji is already installed and does not provide what is missing"]
    );
}

#[tokio::test]
async fn an_unknown_package_is_denied_and_the_failure_stays() {
    let executor = Double::default();
    let report =
        run(&executor, &python(&["import totally_made_up_by_a_model"]), &RunOptions::default())
            .await;
    let block = &report.blocks[0];
    assert_eq!((report.exit_code, &block.outcome), (1, &Outcome::Exited { code: 1 }));
    assert_eq!((block.attempts.len(), asked(&executor).len()), (1, 0));
    assert!(
        block.notes[0].contains("totally-made-up-by-a-model")
            && block.notes[0].contains("allow list"),
        "{block:?}"
    );
}

#[tokio::test]
async fn the_policy_decides() {
    let denied =
        InstallPolicy { deny: vec!["humanize".parse().unwrap()], ..InstallPolicy::default() };
    let allowed =
        InstallPolicy { allow: vec!["humanize".parse().unwrap()], ..InstallPolicy::default() };
    let mode = |mode| InstallPolicy { mode, ..InstallPolicy::default() };
    for (install, expected) in [
        (mode(InstallMode::Never), 1),
        (mode(InstallMode::Known), 0),
        (mode(InstallMode::Any), 0),
        (mode(InstallMode::Ask), 1),
        (denied, 1),
        (allowed, 0),
    ] {
        let executor = Double::default();
        let options = RunOptions { install: install.clone(), ..RunOptions::default() };
        let report = run(&executor, &python(&["import humanize"]), &options).await;
        assert_eq!(report.exit_code, expected, "{install:?}");
        assert_eq!(asked(&executor).is_empty(), expected == 1, "{install:?}");
        assert_eq!(
            report.blocks[0].notes.is_empty(),
            expected == 0,
            "{:?}",
            report.blocks[0].notes
        );
    }
}

#[tokio::test]
async fn a_person_is_asked_once_for_each_package() {
    for approves in [true, false] {
        let listener = Arc::new(Listener { approves, ..Listener::default() });
        let executor = Double::default();
        let (spec, options) = (SessionSpec::default(), policy(InstallMode::Ask));
        let blocks = python(&["import humanize", "import humanize"]);
        let report = run_blocks_apart(&executor, &spec, &blocks, &options, listener.clone());
        let report = report.await.unwrap();
        let questions =
            listener.heard().iter().filter(|heard| heard.starts_with("approve")).count();
        assert_eq!((report.exit_code, questions), (u8::from(!approves), 1));
        assert_eq!(asked(&executor).len(), if approves { 2 } else { 0 });
    }
}

#[tokio::test]
async fn modules_of_the_workspace_are_not_installed() {
    // A module that a block has saved, one that a block has written, and one that the caller names.
    let mut blocks = python(&["print x", "import requests.missing"]);
    blocks[0].filename = Some("requests.py".into());
    let path = "lib/requests/__init__.py";
    let mut with_input = policy(InstallMode::Any);
    with_input.workspace_paths.push(path.into());
    for (blocks, options) in [
        (blocks, policy(InstallMode::Any)),
        (
            python(&["write requests/core.py x", "import requests.missing"]),
            policy(InstallMode::Any),
        ),
        (python(&["print x", "import requests.missing"]), with_input),
    ] {
        let executor = Double::default();
        let report = run(&executor, &blocks, &options).await;
        assert_eq!((report.exit_code, asked(&executor).len()), (1, 0));
        let note = &report.blocks[1].notes[0];
        assert!(note.contains("`requests.missing`") && note.contains("workspace"), "{note}");
    }
    // Input files are known without being named.
    let files = vec![InputFile { path: path.into(), content: Arc::default() }];
    let spec = SessionSpec { files, ..SessionSpec::default() };
    let (executor, blocks) = (Double::default(), python(&["import requests.missing"]));
    for run in [run_blocks, run_blocks_apart] {
        let options = policy(InstallMode::Any);
        let report = run(&executor, &spec, &blocks, &options, Arc::new(())).await.unwrap();
        assert_eq!((report.exit_code, asked(&executor).len()), (1, 0));
    }
}

#[tokio::test]
async fn modules_of_the_standard_library_are_not_installed() {
    let executor = Double::default();
    let report = run(&executor, &python(&["import tkinter"]), &policy(InstallMode::Any)).await;
    assert_eq!((report.exit_code, asked(&executor).len()), (1, 0));
    assert_eq!(report.blocks[0].notes, ["no package provides the module `tkinter`"]);
}

#[tokio::test]
async fn install_commands_are_requests() {
    for language in [Language::PYTHON, Language::BASH, Language::SH] {
        let prefix = if language.is_shell() { "" } else { "!" };
        let mut blocks = python(&[
            &format!("{prefix}pip install humanize PyYAML"),
            "import humanize\nimport yaml\nprint x",
        ]);
        blocks[0].language = Some(language);
        let executor = Double::default();
        let report = run(&executor, &blocks, &RunOptions::default()).await;
        assert_eq!(report.exit_code, 0, "{report:?}");
        assert_eq!(report.blocks[0].installed, ["humanize==1.0", "pyyaml==1.0"]);
        assert!(report.blocks[0].attempts.is_empty(), "nothing was left to run");
        assert_eq!(report.blocks[1].attempts.len(), 1);
    }
}

#[tokio::test]
async fn a_request_that_is_denied_stops_only_a_block_of_nothing_else() {
    let report = run(
        &Double::default(),
        &python(&["!pip install humanize", "print x"]),
        &policy(InstallMode::Never),
    )
    .await;
    assert_eq!((kinds(&report), report.exit_code), (vec!["denied".into(), "skipped".into()], 126));
    let Outcome::Denied { what } = &report.blocks[0].outcome else { panic!("{report:?}") };
    assert!(what.contains("humanize") && what.contains("never"), "{what}");

    let code = "!pip install humanize\nprint x";
    let report = run(&Double::default(), &python(&[code]), &policy(InstallMode::Never)).await;
    assert_eq!((report.exit_code, report.blocks[0].stdout.as_str()), (0, "x\n"));
    assert!(report.blocks[0].notes[0].contains("humanize"), "{report:?}");
}

#[tokio::test]
async fn a_request_that_fails_fails_a_block_of_nothing_else() {
    let options = policy(InstallMode::Any);
    let report =
        run(&Double::default(), &python(&["!pip install not-in-the-index"]), &options).await;
    assert_eq!((report.exit_code, &report.blocks[0].outcome), (1, &Outcome::Exited { code: 1 }));
    assert_eq!(
        report.blocks[0].stderr,
        "cannot install not-in-the-index: the index has no such package\n"
    );
    let report =
        run(&Double::default(), &python(&["!pip install not-in-the-index\nprint x"]), &options)
            .await;
    assert_eq!((report.exit_code, report.blocks[0].notes.len()), (0, 1));
}

#[tokio::test]
async fn a_package_that_cannot_be_installed_leaves_the_failure() {
    let executor = Double::default();
    let report = run(&executor, &python(&["import flask"]), &RunOptions::default()).await;
    assert_eq!((report.exit_code, report.blocks[0].attempts.len()), (1, 1));
    assert_eq!(report.blocks[0].notes, ["cannot install flask: the index has no such package"]);
}

#[tokio::test]
async fn files_of_all_attempts_are_artifacts() {
    let code = "write a.txt first\nimport humanize\nwrite b.txt second";
    let report = run(&Double::default(), &python(&[code]), &RunOptions::default()).await;
    let paths: Vec<_> =
        report.blocks[0].artifacts.iter().map(|artifact| artifact.path.as_str()).collect();
    assert_eq!(paths, ["a.txt", "b.txt"]);
}
