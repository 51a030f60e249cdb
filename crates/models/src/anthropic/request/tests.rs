use std::sync::Arc;

use cellblock_agents::{Parameters, ToolCall, ToolResult};
use serde_json::json;

use super::*;

fn written(request: &ModelRequest) -> Value {
    serde_json::from_slice(&body(&Anthropic::new("claude-sonnet-4-5"), request, false).unwrap())
        .unwrap()
}

fn user(name: Option<&str>, content: impl Into<Content>) -> ModelMessage {
    ModelMessage::User { name: name.map(str::to_owned), content: content.into() }
}

fn assistant(content: &str) -> ModelMessage {
    ModelMessage::Assistant { content: content.into(), tool_calls: vec![] }
}

fn turns(messages: Vec<ModelMessage>) -> Value {
    written(&ModelRequest { messages, ..ModelRequest::default() })["messages"].take()
}

fn text(role: &str, texts: &[&str]) -> Value {
    let blocks: Vec<_> = texts.iter().map(|text| json!({"type": "text", "text": text})).collect();
    json!({"role": role, "content": blocks})
}

#[test]
fn the_system_message_has_its_own_field_and_a_limit_is_always_sent() {
    let request = ModelRequest {
        system: "be brief".to_owned(),
        messages: vec![user(None, "hi")],
        tools: vec![ToolSpec {
            name: "add".into(),
            description: "adds".into(),
            parameters: json!({"type": "object"}),
        }],
        parameters: Parameters {
            stop: vec!["END".to_owned()],
            seed: Some(1),
            ..Parameters::default()
        },
    };
    assert_eq!(
        written(&request),
        json!({"model": "claude-sonnet-4-5", "max_tokens": 4096, "system": "be brief",
            "messages": [text("user", &["hi"])],
            "tools": [{"name": "add", "description": "adds", "input_schema": {"type": "object"}}],
            "stop_sequences": ["END"]})
    );
    let parameters = Parameters { max_tokens: Some(7), ..Parameters::default() };
    assert_eq!(written(&ModelRequest { parameters, ..ModelRequest::default() })["max_tokens"], 7);
}

#[test]
fn sides_take_turns_and_the_user_is_first_and_last() {
    assert_eq!(
        turns(vec![
            user(None, "a"),
            user(None, "b"),
            assistant("c"),
            assistant("d"),
            user(None, "e")
        ]),
        json!([text("user", &["a", "b"]), text("assistant", &["c", "d"]), text("user", &["e"])])
    );
    assert_eq!(
        turns(vec![assistant("c")]),
        json!([text("user", &[BEGIN]), text("assistant", &["c"]), text("user", &[CONTINUE])])
    );
    assert_eq!(turns(vec![]), json!([text("user", &[BEGIN])]));
}

#[test]
fn empty_text_is_omitted() {
    assert_eq!(
        turns(vec![user(None, "a"), assistant(" \n"), user(None, "b")]),
        json!([text("user", &["a", "b"])])
    );
}

#[test]
fn names_begin_the_text() {
    assert_eq!(
        turns(vec![
            user(Some("Kim"), "a"),
            user(Some("Lee"), "b"),
            user(None, "c"),
            user(Some("Lee"), " ")
        ]),
        json!([text("user", &["Kim: a", "Lee: b", "c"])])
    );
    let image = Image { media_type: "image/png".to_owned(), data: Arc::new(vec![1]) };
    let turns = turns(vec![user(Some("Kim"), vec![Part::Image(image)])]);
    assert_eq!(turns[0]["content"][0], json!({"type": "text", "text": "Kim: "}));
    assert_eq!(turns[0]["content"][1]["type"], "image");
}

#[test]
fn tool_calls_and_their_results_are_blocks_and_results_come_first() {
    let call = |id: &str, arguments: &str| ToolCall {
        id: id.into(),
        name: "add".into(),
        arguments: arguments.into(),
    };
    let result = |id: &str, is_error| {
        ModelMessage::Tool(ToolResult {
            id: id.into(),
            name: "add".into(),
            content: "2".into(),
            is_error,
        })
    };
    let turns = turns(vec![
        user(None, "add"),
        ModelMessage::Assistant {
            content: "".into(),
            tool_calls: vec![call("c:1", r#"{"a":1}"#), call("c2", "[broken")],
        },
        result("c:1", false),
        user(None, "hurry"),
        result("c2", true),
    ]);
    assert_eq!(
        turns,
        json!([
            text("user", &["add"]),
            {"role": "assistant", "content": [
                {"type": "tool_use", "id": "c_1", "name": "add", "input": {"a": 1}},
                {"type": "tool_use", "id": "c2", "name": "add",
                    "input": {"arguments": "[broken"}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "c_1", "content": "2"},
                {"type": "tool_result", "tool_use_id": "c2", "content": "2", "is_error": true},
                {"type": "text", "text": "hurry"}]},
        ])
    );
}

#[test]
fn images_are_sent_as_base64_to_models_that_see() {
    let image = Image { media_type: "image/png".to_owned(), data: Arc::new(vec![1, 2, 3]) };
    let parts = vec![Part::Text { text: "look".to_owned() }, Part::Image(image)];
    let request = ModelRequest { messages: vec![user(None, parts)], ..ModelRequest::default() };
    assert_eq!(
        written(&request)["messages"][0]["content"][1],
        json!({"type": "image",
            "source": {"type": "base64", "media_type": "image/png", "data": "AQID"}})
    );
    let blind = Anthropic { sees_images: false, ..Anthropic::new("claude-2") };
    let body: Value = serde_json::from_slice(&body(&blind, &request, false).unwrap()).unwrap();
    assert_eq!(
        body["messages"][0],
        text("user", &["look\n[an image that you cannot see: image/png]"])
    );
}
