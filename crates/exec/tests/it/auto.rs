//! The executor `auto`: the choice for a block, the files that go along, and the notes in the
//! result.

use std::sync::{Arc, atomic::Ordering};

use cellblock_conformance::double::{Counter, Double};
use cellblock_exec::{
    Error, ExecutionRequest, ExecutionResult, Executor, HostRule, InputFile, Isolation, Language,
    Limits, Network, Outcome, Session, SessionSpec,
    auto::{Auto, Candidate},
};

/// Returns a strict executor that runs Python and can install little, and a weaker one that also
/// runs shells and has a network.
fn pair() -> (Arc<Double>, Arc<Double>) {
    let mut strict = Double { name: "strict", ..Double::default() };
    strict.index.retain(|package, _| *package == "humanize");
    let mut weak = Double { name: "weak", ..Double::default() };
    weak.capabilities.languages.push(Language::BASH);
    weak.capabilities.isolation = Isolation::Container;
    weak.capabilities.network = true;
    (Arc::new(strict), Arc::new(weak))
}

fn auto(strict: &Arc<Double>, weak: &Arc<Double>) -> Auto {
    Auto::new(vec![Candidate::ready(strict.clone()), Candidate::ready(weak.clone())]).unwrap()
}

async fn run(session: &mut Box<dyn Session>, language: Language, code: &str) -> ExecutionResult {
    let request = ExecutionRequest { language, ..ExecutionRequest::python(code) };
    session.execute(request).await.unwrap()
}

#[tokio::test]
async fn the_strictest_that_can_runs_a_block_and_files_go_along() {
    let (strict, weak) = pair();
    let files = vec![InputFile { path: "input.txt".into(), content: Arc::new(b"given".to_vec()) }];
    let mut session =
        auto(&strict, &weak).open(SessionSpec { files, ..SessionSpec::default() }).await.unwrap();

    let result =
        run(&mut session, Language::PYTHON, "x = 1\nread input.txt\nwrite a.txt from python").await;
    assert_eq!((result.executor.as_str(), result.isolation), ("strict", Isolation::Wasm));
    assert_eq!((result.stdout.text().as_str(), result.notes), ("given\n", vec![]));
    assert_eq!(weak.opened.load(Ordering::SeqCst), 0, "the weak one is not needed yet");

    let result =
        run(&mut session, Language::BASH, "read input.txt\nread a.txt\nwrite a.txt from bash")
            .await;
    assert_eq!((result.executor.as_str(), result.isolation), ("weak", Isolation::Container));
    assert_eq!(result.stdout.text(), "given\nfrom python\n");
    assert_eq!(result.notes, ["ran in weak; strict: it runs python"]);

    let result = run(&mut session, Language::PYTHON, "read a.txt\nprint x").await;
    assert_eq!(
        (result.executor.as_str(), result.stdout.text().as_str()),
        ("strict", "from bash\n1\n")
    );
    session.close().await.unwrap();
    assert_eq!(strict.open.load(Ordering::SeqCst) + weak.open.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn python_moves_to_where_a_package_can_be_installed() {
    let (strict, weak) = pair();
    let mut session = auto(&strict, &weak).open(SessionSpec::default()).await.unwrap();
    session.install(&["humanize".parse().unwrap()]).await.unwrap();
    assert_eq!(weak.opened.load(Ordering::SeqCst), 0);
    assert_eq!(run(&mut session, Language::PYTHON, "x = 5\nprint x").await.executor, "strict");
    assert!(!run(&mut session, Language::PYTHON, "exit 3").await.outcome.is_success());

    let report = session.install(&["requests".parse().unwrap()]).await.unwrap();
    assert_eq!(report.installed, ["humanize==1.0", "requests==1.0"]);
    let result =
        run(&mut session, Language::PYTHON, "import requests\nimport humanize\nprint x").await;
    assert_eq!((result.executor.as_str(), result.stdout.text().as_str()), ("weak", "5\n"));
    assert!(!result.state_lost);
    assert!(
        result.notes[0]
            .starts_with("moved to weak: requests cannot be installed in a stricter one"),
        "{result:?}"
    );
    assert!(result.notes[1].contains("the earlier Python blocks (1) ran again"), "{result:?}");
    // It stays there, and the note is not repeated.
    let result = run(&mut session, Language::PYTHON, "print x").await;
    assert_eq!((result.executor.as_str(), result.notes.len()), ("weak", 0));
}

#[tokio::test]
async fn a_move_that_loses_variables_says_so() {
    let (strict, mut weak) = pair();
    // The weaker one has another package of that name.
    Arc::get_mut(&mut weak).unwrap().index.insert("humanize", &["other"]);
    let mut session = auto(&strict, &weak).open(SessionSpec::default()).await.unwrap();
    session.install(&["humanize".parse().unwrap()]).await.unwrap();
    assert!(run(&mut session, Language::PYTHON, "import humanize").await.outcome.is_success());
    session.install(&["requests".parse().unwrap()]).await.unwrap();
    let result = run(&mut session, Language::PYTHON, "import requests").await;
    assert!(
        result.state_lost && result.notes.iter().any(|note| note.contains("variables are lost")),
        "{result:?}"
    );
}

#[tokio::test]
async fn a_package_that_nobody_has_is_refused_with_all_reasons() {
    let (strict, weak) = pair();
    let mut session = auto(&strict, &weak).open(SessionSpec::default()).await.unwrap();
    match session.install(&["nowhere".parse().unwrap()]).await {
        Err(Error::Install { why, .. }) => {
            assert!(why.contains("strict: ") && why.contains("weak: "), "{why}")
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(
        run(&mut session, Language::PYTHON, "pass").await.executor,
        "strict",
        "nothing has moved"
    );
}

#[tokio::test]
async fn a_grant_that_the_strict_one_cannot_give_goes_to_the_next() {
    let (strict, weak) = pair();
    let network = Network::Allow(vec![HostRule { host: "example.org".into(), port: Some(443) }]);
    let mut session =
        auto(&strict, &weak).open(SessionSpec { network, ..SessionSpec::default() }).await.unwrap();
    let result = run(&mut session, Language::PYTHON, "pass").await;
    assert_eq!(result.executor, "weak");
    assert_eq!(result.notes, ["ran in weak; strict: unsupported: it has no network"]);
}

#[tokio::test]
async fn what_does_not_start_is_told_and_not_tried_again() {
    let (strict, _) = pair();
    let starts = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = starts.clone();
    let broken = Candidate::new("broken", Isolation::Container, vec![Language::BASH], move || {
        counter.fetch_add(1, Ordering::SeqCst);
        let error = Error::Start { what: "the engine".into(), source: "nobody answers".into() };
        Box::pin(std::future::ready(Err(error)))
    });
    let auto = Auto::new(vec![Candidate::ready(strict), broken]).unwrap();
    let mut session = auto.open(SessionSpec::default()).await.unwrap();
    for _ in 0..2 {
        let result = run(&mut session, Language::BASH, "pass").await;
        let Outcome::Unsupported { what } = &result.outcome else { panic!("{result:?}") };
        assert_eq!(
            what,
            "bash: strict: it runs python; broken: cannot start the engine: nobody answers"
        );
    }
    assert_eq!(starts.load(Ordering::SeqCst), 1);
    let what = run(&mut session, Language::new("cobol"), "pass").await.outcome;
    assert!(matches!(&what, Outcome::Unsupported { what } if what.contains("cobol")), "{what:?}");
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_at_once() {
    let (strict, weak) = pair();
    let auto = auto(&strict, &weak);
    let limits = Limits { wall: std::time::Duration::ZERO, ..Limits::default() };
    assert!(matches!(
        auto.open(SessionSpec { limits, ..SessionSpec::default() }).await,
        Err(Error::Invalid { .. })
    ));
    let files = vec![InputFile { path: "../up".into(), content: Arc::default() }];
    assert!(matches!(
        auto.open(SessionSpec { files, ..SessionSpec::default() }).await,
        Err(Error::Invalid { .. })
    ));
    assert!(matches!(Auto::new(Vec::new()), Err(Error::Unsupported(_))));
}

/// Runs Python that may call the counter.
async fn run_with(
    counter: &Arc<Counter>,
    session: &mut Box<dyn Session>,
    code: &str,
) -> ExecutionResult {
    let request =
        ExecutionRequest { host: Some(counter.clone()), ..ExecutionRequest::python(code) };
    session.execute(request).await.unwrap()
}

#[tokio::test]
async fn a_move_calls_no_function_of_the_host_again() {
    let (strict, weak) = pair();
    let counter = Arc::new(Counter::default());
    let mut session = auto(&strict, &weak).open(SessionSpec::default()).await.unwrap();
    let code = "call a count {\"x\": 1}\ncall b count {\"x\": 2}";
    assert!(run_with(&counter, &mut session, code).await.outcome.is_success());
    assert!(run_with(&counter, &mut session, "call c count {}").await.outcome.is_success());
    assert!(run(&mut session, Language::PYTHON, "d = 4").await.outcome.is_success());
    // A block that fails is not run again, but its calls were made.
    assert!(
        !run_with(&counter, &mut session, "call e count {}\ncall f text {}")
            .await
            .outcome
            .is_success()
    );
    session.install(&["requests".parse().unwrap()]).await.unwrap();
    assert_eq!(counter.0.load(Ordering::SeqCst), 5);
    let result = run_with(
        &counter,
        &mut session,
        "print a\nprint b\nprint c\nprint d\ncall e count {}\nprint e",
    )
    .await;
    assert_eq!(
        (result.executor.as_str(), result.stdout.text().as_str()),
        ("weak", "1\n2\n3\n4\n6\n"),
        "{result:?}"
    );
    assert!(
        !result.state_lost && result.notes[1].contains("the earlier Python blocks (3) ran again"),
        "{result:?}"
    );
}

#[tokio::test]
async fn a_block_that_calls_something_else_when_it_runs_again_is_told() {
    let too_much = "call a text {\"bytes\": 7000000}\n".repeat(3);
    for (code, calls, why) in [
        (
            "call a count {\"place\": \"HERE\"}",
            1,
            "earlier block 2 of 3 ran again there and called other host functions",
        ),
        (
            too_much.as_str(),
            3,
            "earlier block 2 of 3 called host functions with more data than is recorded",
        ),
    ] {
        let (strict, weak) = pair();
        let counter = Arc::new(Counter::default());
        let mut session = auto(&strict, &weak).open(SessionSpec::default()).await.unwrap();
        for code in ["x = 1", code, "x = 2"] {
            assert!(run_with(&counter, &mut session, code).await.outcome.is_success());
        }
        session.install(&["requests".parse().unwrap()]).await.unwrap();
        let result = run(&mut session, Language::PYTHON, "print x").await;
        assert_eq!((result.executor.as_str(), result.stdout.text().as_str()), ("weak", "1\n"));
        assert!(result.state_lost && result.notes[1].starts_with(why), "{result:?}");
        assert_eq!(counter.0.load(Ordering::SeqCst), calls, "the host was called once");
    }
}
