use cellblock_agents::{ModelMessage, Parameters, ToolSpec};

use super::*;

fn request() -> ModelRequest {
    ModelRequest {
        system: "s".to_owned(),
        messages: vec![ModelMessage::User { name: None, content: "hi".into() }],
        ..ModelRequest::default()
    }
}

fn schema(text: &str) -> ToolSpec {
    ToolSpec {
        name: "t".into(),
        description: String::new(),
        parameters: serde_json::from_str(text).unwrap(),
    }
}

#[test]
fn everything_that_decides_an_answer_is_in_the_key() {
    let model = || CachedModel { provider: "p", name: "m", scope: "", namespace: 41 };
    let original = key(&model(), &request()).unwrap();
    assert_eq!(key(&model(), &request()), Some(original));
    for other in [
        CachedModel { provider: "q", ..model() },
        CachedModel { name: "n", ..model() },
        CachedModel { scope: "http://localhost", ..model() },
        CachedModel { namespace: 42, ..model() },
    ] {
        assert_ne!(key(&other, &request()), Some(original), "{other:?}");
    }
    let message = ModelMessage::User { name: Some("ann".into()), content: "hi".into() };
    for other in [
        ModelRequest { system: "t".to_owned(), ..request() },
        ModelRequest { messages: vec![message], ..request() },
        ModelRequest { tools: vec![schema("{}")], ..request() },
        ModelRequest {
            parameters: Parameters { temperature: Some(0.5), ..Parameters::default() },
            ..request()
        },
    ] {
        assert_ne!(key(&model(), &other), Some(original), "{other:?}");
    }
}

#[test]
fn the_order_of_fields_does_not_matter_and_that_of_lists_does() {
    let with = |text| {
        let request = ModelRequest { tools: vec![schema(text)], ..request() };
        key(&CachedModel { provider: "p", name: "m", scope: "", namespace: 1 }, &request)
    };
    assert_eq!(with(r#"{"a":1,"b":{"c":2,"d":3}}"#), with(r#"{"b":{"d":3,"c":2},"a":1}"#));
    assert_ne!(with(r#"{"a":[1,2]}"#), with(r#"{"a":[2,1]}"#));
}
