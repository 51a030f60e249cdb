//! Valid and invalid calls.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use cellblock_agents::{
    Chat, Error, ModelMessage,
    tool::{self, FunctionTool},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::*;
use crate::cast::last;

/// The kind of results.
#[derive(Deserialize, JsonSchema)]
struct Search {
    /// The words.
    words: String,
    /// The maximum of results.
    #[serde(default)]
    most: Option<u8>,
    kind: Kind,
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Text,
    Picture,
}

#[derive(Serialize)]
struct Found {
    words: String,
    most: u8,
    kind: Kind,
}

fn search() -> FunctionTool {
    tool::function("search", "Looks things up.", |Search { words, most, kind }| async move {
        Ok::<_, String>(Found { words, most: most.unwrap_or(10), kind })
    })
}

/// The result of one call.
async fn answer(tool: FunctionTool, name: &str, arguments: &str) -> (String, bool) {
    let (chat, _) = chat_with(vec![tool], vec![call("1", name, arguments)]);
    let result = chat.run("hi").await.unwrap();
    assert_eq!(last(&result), "done", "{}", result.stop);
    let answer = &result.history[2].tool_results[0];
    (answer.content.clone(), answer.is_error)
}

#[test]
fn the_schema_comes_from_the_type() {
    let schema = search().spec.parameters;
    assert_eq!(schema["type"], "object");
    assert_eq!(schema["properties"]["words"]["type"], "string");
    assert_eq!(schema["properties"]["words"]["description"], "The words.");
    let required: Vec<_> =
        schema["required"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert_eq!(required, ["words", "kind"]);
    assert!(schema.to_string().contains("\"picture\""), "{schema}");
}

#[tokio::test]
async fn the_model_is_offered_the_tool_and_told_its_answer() {
    let arguments = r#"{"words":"crates","kind":"text"}"#;
    let (chat, model) = chat_with(vec![search()], vec![call("7", "search", arguments)]);
    let result = chat.run("hi").await.unwrap();
    assert_eq!(
        result.history[2].tool_results[0].content,
        r#"{"kind":"text","most":10,"words":"crates"}"#
    );
    let requests = model.requests();
    assert_eq!(requests[0].tools, [search().spec]);
    let [_, ModelMessage::Assistant { tool_calls, .. }, ModelMessage::Tool(told)] =
        requests[1].messages.as_slice()
    else {
        panic!("{:?}", requests[1].messages)
    };
    assert_eq!((tool_calls[0].id.as_str(), told.id.as_str(), told.is_error), ("7", "7", false));
    // The record of the result.
    let record = &result.tool_calls[0];
    assert_eq!((record.agent.as_str(), record.name.as_str()), ("assistant", "search"));
    assert_eq!(
        (record.arguments.as_str(), record.is_error, record.from_code),
        (arguments, false, false)
    );
}

#[tokio::test]
async fn arguments_that_do_not_fit() {
    for (arguments, words) in [
        (r#"{"words":"x"}"#, "kind"),
        (r#"{"words":1,"kind":"text"}"#, "/words"),
        (r#"{"words":"x","kind":"sound"}"#, "/kind"),
        (r#"{"words":"x","kind":"text","most":1000}"#, "/most"),
        ("[]", "the arguments do not match the schema"),
        ("null", "the arguments do not match the schema"),
        ("", "kind"),
    ] {
        let (told, is_error) = answer(search(), "search", arguments).await;
        assert!(
            is_error
                && told.starts_with("Error: the arguments do not match the schema")
                && told.contains(words),
            "{arguments}: {told}"
        );
    }
    let (told, is_error) =
        answer(search(), "search", r#"{"words":"x","kind":"text","most":3}"#).await;
    assert_eq!((told.as_str(), is_error), (r#"{"kind":"text","most":3,"words":"x"}"#, false));
}

#[tokio::test]
async fn unknown_tools_and_bad_json() {
    assert_eq!(
        answer(search(), "find", "{}").await,
        ("Error: Function find not found.".to_owned(), true)
    );
    for arguments in ["{", "words=x", "{\"words\": \"x\",}", "{\"words\": \"x\"} trailing"] {
        let (told, is_error) = answer(search(), "search", arguments).await;
        assert!(
            is_error && told.ends_with("\n The argument must be in JSON format."),
            "{arguments}: {told}"
        );
    }
}

#[tokio::test]
async fn arguments_of_ten_megabytes() {
    let of = |bytes: usize| serde_json::json!({"text": "x".repeat(bytes)}).to_string();
    let (told, is_error) = answer(length(), "length", &of(10 << 20)).await;
    assert!(is_error && told.contains("the maximum is 8388608"), "{told}");
    assert_eq!(answer(length(), "length", &of(7 << 20)).await, ((7 << 20).to_string(), false));
    // An unknown tool, too. Neither the history nor the next request is that large.
    for name in ["length", "nothing"] {
        let (chat, model) = chat_with(vec![length()], vec![call("1", name, &of(10 << 20))]);
        let result = chat.run("hi").await.unwrap();
        let told = &result.history[2].tool_results[0].content;
        assert!(
            told.contains("the arguments have 10485771 bytes; the maximum is 8388608"),
            "{told}"
        );
        assert!(serde_json::to_string(&result).unwrap().len() < 10_000);
        assert!(serde_json::to_string(&model.requests()[1]).unwrap().len() < 10_000);
        let kept = &result.history[1].tool_calls[0].arguments;
        assert_eq!(kept, r#"{"bytes_left_out":10485771}"#);
    }
}

#[tokio::test]
async fn a_long_answer_is_shortened_for_the_model() {
    let long =
        tool::function("long", "Long.", |(): ()| async { Ok::<_, String>("x".repeat(1 << 20)) });
    let (told, _) = answer(long, "long", "null").await;
    assert!(told.len() < 70 * 1024 && told.contains("bytes left out"), "{}", told.len());
}

#[tokio::test]
async fn calls_of_one_message_run_at_once() {
    // Each waits until all three run.
    let barrier = Arc::new(tokio::sync::Barrier::new(3));
    let meet = tool::function("meet", "Meets.", move |Text { text }| {
        let barrier = barrier.clone();
        async move {
            barrier.wait().await;
            Ok::<_, String>(text)
        }
    });
    let calls = ["a", "b", "c"]
        .map(|text| call(text, "meet", &serde_json::json!({"text": text}).to_string()));
    let (chat, _) = chat_with(vec![meet], calls.to_vec());
    let result =
        tokio::time::timeout(Duration::from_secs(30), chat.run("hi")).await.unwrap().unwrap();
    let answers: Vec<_> =
        result.history[2].tool_results.iter().map(|result| result.content.as_str()).collect();
    assert_eq!(answers, ["a", "b", "c"]);
}

#[tokio::test]
async fn a_call_has_its_time() {
    let mut slow =
        tool::function("slow", "Slow.", |(): ()| std::future::pending::<Result<(), String>>());
    slow.timeout = Duration::from_millis(50);
    let start = Instant::now();
    let (told, is_error) = answer(slow, "slow", "null").await;
    assert_eq!(
        (told.as_str(), is_error),
        ("Error: the tool `slow` did not answer within 50ms", true)
    );
    assert!(start.elapsed() < Duration::from_secs(30));
}

#[tokio::test]
async fn a_tool_that_fails_or_panics_ends_nothing() {
    let fails = tool::function("fails", "Fails.", |(): ()| async { Err::<(), _>("no such order") });
    assert_eq!(answer(fails, "fails", "null").await, ("Error: no such order".to_owned(), true));
    let panics = tool::function("panics", "Panics.", |(): ()| async {
        if true {
            panic!("on purpose");
        }
        Ok::<_, String>(())
    });
    assert_eq!(
        answer(panics, "panics", "null").await,
        ("Error: the tool `panics` panicked".to_owned(), true)
    );
}

#[tokio::test]
async fn invalid_tools() {
    for name in ["", "has blank", "ünïcode", &"x".repeat(65)] {
        let tool = tool::function(name, "Bad.", |(): ()| async { Ok::<_, String>(()) });
        let (chat, model) = chat_with(vec![tool], vec![]);
        let error = chat.run("hi").await.unwrap_err();
        assert!(matches!(error, Error::Invalid(_)) && model.calls() == 0, "{error}");
    }
    let (chat, _) = chat_with(vec![search(), search()], vec![]);
    assert!(chat.run("hi").await.unwrap_err().to_string().contains("two tools"));
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("schema.json");
    std::fs::write(&file, "{}").unwrap();
    let reference = format!("file://{}", file.display());
    for (schema, is_valid) in [
        (serde_json::json!({"type": "no type"}), false),
        (serde_json::json!("no schema"), false),
        // A schema must not read files, even if they exist.
        (serde_json::json!({"$ref": reference}), false),
        // Control: a reference within the schema.
        (serde_json::json!({"$ref": "#/$defs/any", "$defs": {"any": {}}}), true),
    ] {
        let mut tool = search();
        tool.spec.parameters = schema.clone();
        let (chat, _) = chat_with(vec![tool], vec![]);
        let error = chat.run("hi").await.err().map(|error| error.to_string());
        let expected = "the schema of the tool `search` is not valid";
        let is_expected = match &error {
            Some(error) => !is_valid && error.contains(expected),
            None => is_valid,
        };
        assert!(is_expected, "{schema}: {error:?}");
    }
}

/// Some servers use the same id for all calls of a message.
#[tokio::test]
async fn two_calls_of_one_id() {
    let calls = ["a", "bb"]
        .map(|text| call("same", "length", &serde_json::json!({"text": text}).to_string()));
    let (chat, model) = chat_with(vec![length()], calls.to_vec());
    chat.run("hi").await.unwrap();
    let told: Vec<_> = model.requests()[1]
        .messages
        .iter()
        .filter_map(|message| match message {
            ModelMessage::Tool(result) => Some(result.content.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(told, ["1", "2"]);
}

#[tokio::test]
async fn tools_are_told_as_events() {
    let (events, mut heard) = cellblock_agents::event::channel();
    let (chat, _) = chat_with(vec![length()], vec![call("1", "length", r#"{"text":"four"}"#)]);
    Chat { events: Some(events), ..chat }.run("hi").await.unwrap();
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    while let Ok(event) = heard.try_recv() {
        let json = serde_json::to_value(&event).unwrap();
        *kinds.entry(json["event"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    assert_eq!(
        (kinds["tool_started"], kinds["tool_finished"], kinds["model_answered"]),
        (1, 1, 2),
        "{kinds:?}"
    );
    assert_eq!(
        (kinds["chat_started"], kinds["message"], kinds["chat_stopped"]),
        (1, 4, 1),
        "{kinds:?}"
    );
}
