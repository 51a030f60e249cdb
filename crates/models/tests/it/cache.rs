//! The cache of answers around a model.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
};

use cellblock_agents::{
    Completion, FinishReason, ModelClient, ModelError, ModelMessage, ModelRequest, Parameters,
    TextSink,
    scripted::{ScriptedAnswer, ScriptedModel},
};
use cellblock_models::{
    Anthropic, CacheStore, Cacheable, Cached, NamePlace, Ollama, OpenAi, Price,
};

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
async fn case_38_a_hit_calls_no_model_and_keeps_its_cost() {
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
    // Control: another request, namespace or scope calls the model.
    let other = cached(&model, &path).complete(&asked("ho"), None).await.unwrap();
    assert_eq!((other.content.as_str(), other.cached), ("second", false));
    let namespace = Cached { namespace: 42, ..cached(&model, &path) };
    assert_eq!(namespace.complete(&asked("hi"), None).await.unwrap().content, "third");
    let elsewhere = Cached { scope: "http://127.0.0.1:1/v1".to_owned(), ..cached(&model, &path) };
    assert!(elsewhere.complete(&asked("hi"), None).await.is_err());
    assert_eq!(model.calls(), 4);
}

#[tokio::test]
async fn failures_and_empty_answers_are_not_cached() {
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

/// The number of writes of each process.
const WRITES: usize = 200;

const WRITER: &str = "CELLBLOCK_TEST_CACHE";

async fn write(path: &Path, who: &str) {
    let model = Arc::new(ScriptedModel::with(|request| format!("answer to {}", request.system)));
    let client = cached(&model, path);
    for number in 0..WRITES {
        let request = ModelRequest { system: format!("{who} {number}"), ..asked("hi") };
        client.complete(&request, None).await.unwrap();
        // Both processes write this one.
        client
            .complete(&ModelRequest { system: format!("both {number}"), ..asked("hi") }, None)
            .await
            .unwrap();
    }
}

/// Not a test of its own: the other process of the next test.
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
    // Everything that either process wrote is there: no model is called.
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
    // Another process that holds the lock for longer than the store waits.
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_eq!(client.complete(&asked("hi"), None).await.unwrap().content, "one");
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(client.complete(&asked("hi"), None).await.unwrap().content, "two");
    // Control: that answer was cached.
    assert_eq!(client.complete(&asked("hi"), None).await.unwrap().content, "two");
    // A file that is overwritten while it is in use.
    std::fs::write(&path, "x".repeat(100_000)).unwrap();
    drop(client);
    let client = cached(&model, &path);
    assert_eq!(client.complete(&asked("hi"), None).await.unwrap().content, "three");
}

#[test]
fn the_scope_holds_everything_that_a_client_adds_to_a_request() {
    let warm = || Parameters { temperature: Some(0.7), ..Parameters::default() };
    let openai = || OpenAi::new("https://a.example/v1", "m");
    let extra = [("logprobs".to_owned(), true.into())].into_iter().collect();
    let seeded = Parameters { seed: Some(1), ..Parameters::default() };
    for other in [
        OpenAi { base_url: "https://b.example/v1".to_owned(), ..openai() },
        OpenAi { parameters: warm(), ..openai() },
        OpenAi { parameters: seeded, ..openai() },
        OpenAi { parameters: Parameters { extra, ..Parameters::default() }, ..openai() },
        OpenAi { sees_images: true, ..openai() },
        OpenAi { name_place: NamePlace::Field, ..openai() },
        OpenAi { query: vec![("api-version".to_owned(), "2".to_owned())], ..openai() },
    ] {
        assert_ne!(other.scope(), openai().scope(), "{other:?}");
    }
    // Control: fields that decide no answer are not in it.
    let same = OpenAi {
        stream: false,
        key: Some("sk-secret".into()),
        price: Some(Price::FREE),
        ..openai()
    };
    assert_eq!(same.scope(), openai().scope());

    let anthropic = || Anthropic::new("m");
    for other in [
        Anthropic { base_url: "https://b.example/v1".to_owned(), ..anthropic() },
        Anthropic { parameters: warm(), ..anthropic() },
        Anthropic { sees_images: !anthropic().sees_images, ..anthropic() },
    ] {
        assert_ne!(other.scope(), anthropic().scope(), "{other:?}");
    }
    let ollama = || Ollama::new("m");
    for other in [
        Ollama { base_url: "https://b.example".to_owned(), ..ollama() },
        Ollama { parameters: warm(), ..ollama() },
        Ollama { sees_images: !ollama().sees_images, ..ollama() },
    ] {
        assert_ne!(other.scope(), ollama().scope(), "{other:?}");
    }
}
