//! Recording a model, and answering from the recording.

use std::{fs, path::Path, sync::Arc, time::Duration};

use cellblock_agents::{
    Content, Image, ModelClient, ModelError, ModelMessage, ModelRequest, Part, TextSink, ToolCall,
    ToolResult,
    scripted::{ScriptedAnswer, ScriptedModel},
};
use cellblock_models::{Recording, RecordingFile, Replay};

fn asked(text: &str) -> ModelRequest {
    let messages = vec![ModelMessage::User { name: Some("ann".into()), content: text.into() }];
    ModelRequest { system: "be brief".into(), messages, ..ModelRequest::default() }
}

/// Returns a conversation with everything in it.
fn rich() -> ModelRequest {
    let image = Image { media_type: "image/png".into(), data: Arc::new(vec![0, 1, 2, 255]) };
    let parts = vec![Part::Text { text: "what is\nthis?".into() }, Part::Image(image)];
    let call = ToolCall { id: "1".into(), name: "look".into(), arguments: r#"{"at":"it"}"#.into() };
    let result = ToolResult {
        id: "1".into(),
        name: "look".into(),
        content: "a cat".into(),
        is_error: false,
    };
    let mut request = asked("");
    request.messages = vec![
        ModelMessage::User { name: None, content: Content::Parts(parts) },
        ModelMessage::Assistant { content: "".into(), tool_calls: vec![call] },
        ModelMessage::Tool(result),
    ];
    request.parameters.temperature = Some(0.1);
    request
}

fn recorder(path: &Path, answers: Vec<ScriptedAnswer>) -> Recording {
    let inner =
        Arc::new(ScriptedModel::new("gpt-4", answers).usage(100, 10).cost(0.0036).seeing_images());
    Recording { inner, file: Arc::new(RecordingFile::open(path, true).unwrap()) }
}

#[tokio::test]
async fn a_recording_answers_as_the_model_did() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("chat.jsonl");
    let failure = ModelError::RateLimited {
        provider: "scripted".into(),
        message: "slow down".into(),
        retry_after: Some(Duration::from_millis(1500)),
    };
    let answers =
        vec!["a cat".into(), "one".into(), "two\n```python\nprint(1)\n```".into(), failure.into()];
    let recording = recorder(&path, answers);
    let requests = [rich(), asked("again"), asked("again"), asked("too often")];
    let mut expected = Vec::new();
    for request in &requests {
        expected.push(recording.complete(request, None).await.map_err(|error| error.to_string()));
    }
    recording.file.finish().unwrap();

    let replay = Replay::read(&path).unwrap();
    assert_eq!(
        (replay.name(), replay.provider(), replay.sees_images()),
        ("gpt-4", "scripted", true)
    );
    // In another order than recorded, except for equal requests.
    for at in [3, 1, 0, 2] {
        let (sender, mut pieces) = tokio::sync::mpsc::unbounded_channel();
        let sink: TextSink = Arc::new(move |text: &str| drop(sender.send(text.to_owned())));
        let answer =
            replay.complete(&requests[at], Some(&sink)).await.map_err(|error| error.to_string());
        assert_eq!(answer, expected[at]);
        drop(sink);
        let mut heard = String::new();
        while let Some(piece) = pieces.recv().await {
            heard.push_str(&piece);
        }
        assert_eq!(heard, answer.map(|answer| answer.content).unwrap_or_default());
    }
    assert_eq!(replay.remaining(), 0);
    assert!(matches!(replay.complete(&rich(), None).await, Err(ModelError::Unanswered(_))));
}

#[tokio::test]
async fn one_byte_of_an_image_changes_the_request() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("chat.jsonl");
    recorder(&path, vec!["a cat".into()]).complete(&rich(), None).await.unwrap();
    let replay = Replay::read(&path).unwrap();
    let mut other = rich();
    if let ModelMessage::User { content: Content::Parts(parts), .. } = &mut other.messages[0] {
        parts[1] = Part::Image(Image {
            media_type: "image/png".into(),
            data: Arc::new(vec![0, 1, 2, 254]),
        });
    }
    assert!(replay.complete(&other, None).await.is_err());
    assert!(replay.complete(&rich(), None).await.is_ok());
}

#[tokio::test]
async fn a_recording_continues_where_a_killed_process_left_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("chat.jsonl");
    recorder(&path, vec!["one".into()]).complete(&asked("1"), None).await.unwrap();
    let whole = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{whole}{}", &whole.lines().last().unwrap()[..40])).unwrap();
    recorder(&path, vec!["two".into()]).complete(&asked("2"), None).await.unwrap();
    let replay = Replay::read(&path).unwrap();
    assert_eq!(replay.remaining(), 2);
    assert_eq!(replay.complete(&asked("2"), None).await.unwrap().content, "two");
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 3);
}

#[test]
fn other_files_are_not_overwritten() {
    let directory = tempfile::tempdir().unwrap();
    for (name, content) in [
        ("notes.txt", "dear diary\n"),
        ("binary", "\u{0}\u{1}"),
        ("by_hand.jsonl", "{\"cellblock_recording\":1,\"made\":\"by hand\"}\n"),
        ("later.jsonl", "{\"cellblock_recording\":2}\n"),
    ] {
        let path = directory.path().join(name);
        fs::write(&path, content).unwrap();
        let error = RecordingFile::open(&path, false).unwrap_err().to_string();
        assert!(error.contains("name another file"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), content);
    }
    let nowhere = RecordingFile::open(&directory.path().join("missing/chat.jsonl"), false);
    assert!(nowhere.is_err());
    assert!(RecordingFile::open(&directory.path().join("new.jsonl"), false).is_ok());
}

#[tokio::test]
async fn several_models_share_a_file_and_a_cancelled_call_leaves_no_trace() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("chat.jsonl");
    let file = Arc::new(RecordingFile::open(&path, false).unwrap());
    let model = |name: &str, delay| Recording {
        inner: Arc::new(ScriptedModel::new(name, ["x"; 50]).delay(delay)),
        file: file.clone(),
    };
    let (one, two) = (model("one", Duration::ZERO), model("two", Duration::ZERO));
    for _ in 0..50 {
        let (first, second) = (asked("1"), asked("2"));
        let (one, two) = tokio::join!(one.complete(&first, None), two.complete(&second, None));
        assert!(one.is_ok() && two.is_ok());
    }
    let slow = model("slow", Duration::from_secs(3600));
    let cancelled =
        tokio::time::timeout(Duration::from_millis(20), slow.complete(&asked("3"), None)).await;
    assert!(cancelled.is_err());
    let replay = Replay::read(&path).unwrap();
    assert_eq!(replay.remaining(), 100);
    assert_eq!(replay.complete(&asked("2"), None).await.unwrap().model, "two");
}

#[tokio::test]
async fn a_recording_is_readable_by_its_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let path = directory.path().join("chat.jsonl");
    let recording = recorder(&path, vec!["secret".into()]);
    recording.complete(&asked("hi"), None).await.unwrap();
    recording.file.finish().unwrap();
    assert_eq!(mode(&path), 0o600);
    // Its owner can share it, and it stays shared when it is continued.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    drop(recorder(&path, Vec::new()));
    assert_eq!(mode(&path), 0o644);
}
