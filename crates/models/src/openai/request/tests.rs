use std::sync::Arc;

use cellblock_agents::{Parameters, ToolResult, ToolSpec};
use serde_json::json;

use super::*;

fn written(client: &OpenAi, request: &ModelRequest, streamed: bool) -> Value {
    serde_json::from_slice(&body(client, request, streamed).unwrap()).unwrap()
}

fn local() -> OpenAi {
    OpenAi::new("http://127.0.0.1:1/v1", "m")
}

fn user(content: impl Into<Content>) -> ModelMessage {
    ModelMessage::User { name: None, content: content.into() }
}

#[test]
fn a_conversation_becomes_messages_with_roles() {
    let request = ModelRequest {
        system: "be brief".to_owned(),
        messages: vec![
            ModelMessage::User { name: Some("Kim Min".to_owned()), content: "hi".into() },
            ModelMessage::Assistant {
                content: "".into(),
                tool_calls: vec![ToolCall {
                    id: "c1".into(),
                    name: "add".into(),
                    arguments: r#"{"a":1}"#.into(),
                }],
            },
            ModelMessage::Tool(ToolResult {
                id: "c1".into(),
                name: "add".into(),
                content: "2".into(),
                is_error: false,
            }),
            ModelMessage::Assistant { content: "two".into(), tool_calls: vec![] },
        ],
        tools: vec![ToolSpec {
            name: "add".into(),
            description: "adds".into(),
            parameters: json!({"type": "object"}),
        }],
        parameters: Parameters::default(),
    };
    assert_eq!(
        written(&local(), &request, false),
        json!({
            "model": "m",
            "messages": [
                {"role": "system", "content": "be brief"},
                {"role": "user", "content": "Kim Min: hi"},
                {"role": "assistant", "tool_calls": [{"id": "c1", "type": "function",
                    "function": {"name": "add", "arguments": "{\"a\":1}"}}]},
                {"role": "tool", "tool_call_id": "c1", "content": "2"},
                {"role": "assistant", "content": "two"},
            ],
            "tools": [{"type": "function", "function": {"name": "add", "description": "adds",
                "parameters": {"type": "object"}}}],
        })
    );
}

#[test]
fn images_are_data_urls_for_models_that_see_and_notes_for_others() {
    let image = Image { media_type: "image/png".to_owned(), data: Arc::new(vec![1, 2, 3]) };
    let parts = vec![Part::Text { text: "look".to_owned() }, Part::Image(image)];
    let request = ModelRequest { messages: vec![user(parts)], ..ModelRequest::default() };
    let sees = OpenAi { sees_images: true, ..local() };
    assert_eq!(
        written(&sees, &request, false)["messages"][0]["content"],
        json!([{"type": "text", "text": "look"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AQID"}}])
    );
    let blind = written(&local(), &request, false);
    assert_eq!(blind["messages"][0]["content"], "look\n[an image that you cannot see: image/png]");
}

#[test]
fn names_go_into_a_field_where_the_server_has_one() {
    let image = Image { media_type: "image/png".to_owned(), data: Arc::new(vec![1]) };
    let named = |content: Content| ModelMessage::User { name: Some("Kim Min".to_owned()), content };
    let messages = vec![named("hi".into()), named(vec![Part::Image(image)].into())];
    let request = ModelRequest { messages, ..ModelRequest::default() };
    let body = written(&OpenAi::new("https://api.openai.com/v1", "gpt-4o"), &request, false);
    assert_eq!(body["messages"][0], json!({"role": "user", "name": "Kim_Min", "content": "hi"}));
    assert_eq!(body["messages"][1]["content"].as_array().map(Vec::len), Some(1));
    let body = written(&OpenAi { sees_images: true, ..local() }, &request, false);
    assert_eq!(body["messages"][0], json!({"role": "user", "content": "Kim Min: hi"}));
    assert_eq!(body["messages"][1]["content"][0], json!({"type": "text", "text": "Kim Min: "}));
    assert_eq!(body["messages"][1]["content"][1]["type"], "image_url");
}

#[test]
fn parameters_are_omitted_unless_given() {
    let parameters = Parameters {
        temperature: Some(0.5),
        max_tokens: Some(9),
        stop: vec!["x".to_owned()],
        seed: Some(1),
        ..Parameters::default()
    };
    let request =
        ModelRequest { messages: vec![user("hi")], parameters, ..ModelRequest::default() };
    let body = written(&local(), &request, true);
    assert_eq!(
        body,
        json!({"model": "m", "messages": [{"role": "user", "content": "hi"}], "temperature": 0.5,
            "max_tokens": 9, "stop": ["x"], "seed": 1, "stream": true,
            "stream_options": {"include_usage": true}})
    );
}

#[test]
fn openai_and_azure_get_the_new_name_of_the_limit() {
    let parameters = Parameters { max_tokens: Some(9), ..Parameters::default() };
    let request =
        ModelRequest { messages: vec![user("hi")], parameters, ..ModelRequest::default() };
    for base in ["https://api.openai.com/v1", "https://me.openai.azure.com/openai/deployments/x"] {
        let body = written(&OpenAi::new(base, "o3"), &request, false);
        assert_eq!(
            (&body["max_completion_tokens"], &body["max_tokens"]),
            (&json!(9), &Value::Null),
            "{base}"
        );
    }
    let body =
        written(&OpenAi::new("https://api.openai.com.evil.example/v1", "o3"), &request, false);
    assert_eq!(body["max_tokens"], 9);
}

#[test]
fn extra_fields_appear_once_and_cannot_replace_the_conversation() {
    let extra = |name: &str, value: Value| {
        let parameters = Parameters {
            temperature: Some(0.5),
            extra: Map::from_iter([(name.to_owned(), value)]),
            ..Parameters::default()
        };
        ModelRequest { messages: vec![user("hi")], parameters, ..ModelRequest::default() }
    };
    assert_eq!(
        written(&local(), &extra("reasoning_effort", json!("low")), false)["reasoning_effort"],
        "low"
    );
    let text = body(&local(), &extra("temperature", json!(0.9)), false).unwrap();
    let text = std::str::from_utf8(&text).unwrap();
    assert_eq!(text.matches("temperature").count(), 1, "{text}");
    assert!(text.contains("0.9"), "{text}");
    for name in ["messages", "stream", "model"] {
        let error = body(&local(), &extra(name, json!(1)), false).unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
    }
}
