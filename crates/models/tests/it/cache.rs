//! The cache of answers, around a model.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
};

use cellblock_agents::{
    Completion, FinishReason, ModelClient, ModelError, ModelMessage, ModelRequest, TextSink,
    scripted::{ScriptedAnswer, ScriptedModel},
};
use cellblock_models::{CacheStore, Cached};

fn asked(text: &str) -> ModelRequest {
    let messages = vec![ModelMessage::User { name: None, content: text.into() }];
    ModelRequest { messages, ..ModelRequest::default() }
}

fn cached(model: &Arc<ScriptedModel>, path: &Path) -> Cached {
    Cached::new(model.clone(), Arc::new(CacheStore::open(path).unwrap()))
}

fn place() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("models.sqlite");
    (directory, path)
}

#[tokio::test]
async fn case_38_a_hit_asks_nobody_and_tells_what_it_cost() {
    let (_directory, path) = place();
    let model =
        Arc::new(ScriptedModel::new("m", ["first", "second", "third"]).usage(100, 10).cost(0.5));
    let first = cached(&model, &path).complete(&asked("hi"), None).await.unwrap();
    assert!(!first.cached);
    // Another client of the same file, as in the next run of the program.
    let heard = Arc::new(Mutex::new(Vec::new()));
    let sink: TextSink = {
        let heard = heard.clone();
        Arc::new(move |text: &str| heard.lock().unwrap().push(text.to_owned()))
    };
    let again = cached(&model, &path).complete(&asked("hi"), Some(&sink)).await.unwrap();
    assert_eq!(again, Completion { cached: true, ..first });
    assert_eq!((again.cost, model.calls()), (0.5, 1));
    assert_eq!(*heard.lock().unwrap(), ["first"]);
    // Control: another question, another namespace and another place ask.
    let other = cached(&model, &path).complete(&asked("ho"), None).await.unwrap();
    assert_eq!((other.content.as_str(), other.cached), ("second", false));
    let namespace = Cached { namespace: 42, ..cached(&model, &path) };
    assert_eq!(namespace.complete(&asked("hi"), None).await.unwrap().content, "third");
    let elsewhere = Cached { scope: "http://127.0.0.1:1/v1".to_owned(), ..cached(&model, &path) };
    assert!(elsewhere.complete(&asked("hi"), None).await.is_err());
    assert_eq!(model.calls(), 4);
}

#[tokio::test]
async fn failures_and_answers_of_nothing_are_not_kept() {
    let (_directory, path) = place();
    let filtered =
        Completion { finish: FinishReason::Filtered, ..Completion::text("m", "I cannot") };
    let failure = ModelError::Status { provider: "p".into(), status: 500, message: "oh".into() };
    let answers = [
        failure.into(),
        filtered.into(),
        ScriptedAnswer::from(""),
        ScriptedAnswer::call("add", "{}"),
        "never".into(),
    ];
    let model = Arc::new(ScriptedModel::new("m", answers));
    let client = cached(&model, &path);
    let request = asked("hi");
    assert!(client.complete(&request, None).await.is_err());
    assert_eq!(client.complete(&request, None).await.unwrap().content, "I cannot");
    assert_eq!(client.complete(&request, None).await.unwrap().content, "");
    let call = client.complete(&request, None).await.unwrap();
    let again = client.complete(&request, None).await.unwrap();
    assert_eq!(again, Completion { cached: true, ..call });
    assert_eq!(model.calls(), 4);
}

/// How often each of two processes writes.
const WRITES: usize = 200;

const WRITER: &str = "CELLBLOCK_TEST_CACHE";

async fn write(path: &Path, who: &str) {
    let model = Arc::new(ScriptedModel::with(|request| format!("answer to {}", request.system)));
    let client = cached(&model, path);
    for number in 0..WRITES {
        let request = ModelRequest { system: format!("{who} {number}"), ..asked("hi") };
        client.complete(&request, None).await.unwrap();
        // What both write.
        client
            .complete(&ModelRequest { system: format!("both {number}"), ..asked("hi") }, None)
            .await
            .unwrap();
    }
}

/// Not a test of its own: the other process of the next one.
#[tokio::test]
#[ignore = "started by two_processes_share_a_file"]
async fn the_other_process() {
    if let Some(path) = env::var_os(WRITER) {
        write(Path::new(&path), "other").await;
    }
}

#[tokio::test]
async fn two_processes_share_a_file() {
    let (_directory, path) = place();
    let mut other = Command::new(env::current_exe().unwrap())
        .args(["--exact", "cache::the_other_process", "--ignored"])
        .env(WRITER, &path)
        .spawn()
        .unwrap();
    write(&path, "this").await;
    assert!(other.wait().unwrap().success());
    // All that either wrote is there: nobody has to be asked.
    let nobody = Arc::new(ScriptedModel::new("scripted", Vec::<ScriptedAnswer>::new()));
    let client = cached(&nobody, &path);
    for who in ["this", "other", "both"] {
        for number in 0..WRITES {
            let request = ModelRequest { system: format!("{who} {number}"), ..asked("hi") };
            let answer = client.complete(&request, None).await.unwrap();
            assert_eq!(answer.content, format!("answer to {who} {number}"));
        }
    }
}

#[tokio::test]
async fn a_cache_that_cannot_be_written_fails_no_call() {
    let (_directory, path) = place();
    let model = Arc::new(ScriptedModel::new("m", ["one", "two", "three"]));
    let client = cached(&model, &path);
    // Another process that does not let go, for longer than is waited.
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_eq!(client.complete(&asked("hi"), None).await.unwrap().content, "one");
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(client.complete(&asked("hi"), None).await.unwrap().content, "two");
    // Control: that one was kept.
    assert_eq!(client.complete(&asked("hi"), None).await.unwrap().content, "two");
    // A file that somebody replaced by nonsense while it is used.
    std::fs::write(&path, "x".repeat(100_000)).unwrap();
    drop(client);
    let client = cached(&model, &path);
    assert_eq!(client.complete(&asked("hi"), None).await.unwrap().content, "three");
}
