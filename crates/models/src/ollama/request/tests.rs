use std::sync::Arc;

use cellblock_agents::{Parameters, Part, ToolResult, ToolSpec};
use serde_json::json;

use super::*;

fn written(client: &Ollama, request: &ModelRequest) -> Value {
    serde_json::from_slice(&body(client, request, false).unwrap()).unwrap()
}

fn user(name: Option<&str>, content: impl Into<Content>) -> ModelMessage {
    ModelMessage::User { name: name.map(str::to_owned), content: content.into() }
}

#[test]
fn a_conversation_becomes_messages() {
    let request = ModelRequest {
        system: "be brief".to_owned(),
        messages: vec![
            user(None, "hi"),
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
        ],
        tools: vec![ToolSpec {
            name: "add".into(),
            description: "adds".into(),
            parameters: json!({"type": "object"}),
        }],
        parameters: Parameters {
            temperature: Some(0.0),
            max_tokens: Some(9),
            ..Parameters::default()
        },
    };
    assert_eq!(
        written(&Ollama::new("llama3"), &request),
        json!({
            "model": "llama3",
            "messages": [
                {"role": "system", "content": "be brief"},
                {"role": "user", "content": "hi"},
                {"role": "assistant", "content": "",
                    "tool_calls": [{"function": {"name": "add", "arguments": {"a": 1}}}]},
                {"role": "tool", "content": "2", "tool_name": "add"},
            ],
            "tools": [{"type": "function", "function": {"name": "add", "description": "adds",
                "parameters": {"type": "object"}}}],
            "stream": false,
            "options": {"temperature": 0.0, "num_predict": 9},
        })
    );
}

#[test]
fn images_go_beside_the_text_and_names_before_it() {
    let image = Image { media_type: "image/png".to_owned(), data: Arc::new(vec![1, 2, 3]) };
    let parts = vec![Part::Text { text: "look".to_owned() }, Part::Image(image)];
    let messages = vec![user(Some("Kim"), parts), user(Some("Lee"), "well")];
    let request = ModelRequest { messages, ..ModelRequest::default() };
    let body = written(&Ollama::new("llava"), &request);
    assert_eq!(
        body["messages"][0],
        json!({"role": "user", "content": "Kim: look", "images": ["AQID"]})
    );
    assert_eq!(body["messages"][1]["content"], "Lee: well");
    let blind = written(&Ollama::new("llama3"), &request);
    assert_eq!(
        blind["messages"][0]["content"],
        "Kim: look\n[an image that you cannot see: image/png]"
    );
    assert_eq!(blind["messages"][0].get("images"), None);
}

#[test]
fn extra_options_are_merged_with_the_others_and_win() {
    let extra = |options: Value| ModelRequest {
        parameters: Parameters {
            temperature: Some(0.5),
            seed: Some(3),
            extra: Map::from_iter([
                ("options".to_owned(), options),
                ("keep_alive".to_owned(), json!("5m")),
            ]),
            ..Parameters::default()
        },
        ..ModelRequest::default()
    };
    let body = written(&Ollama::new("m"), &extra(json!({"num_ctx": 8192, "temperature": 0.1})));
    assert_eq!(body["options"], json!({"num_ctx": 8192, "temperature": 0.1, "seed": 3}));
    assert_eq!(body["keep_alive"], "5m");
    let error = super::body(&Ollama::new("m"), &extra(json!(3)), false).unwrap_err();
    assert!(error.to_string().contains("num_ctx"), "{error}");
}
