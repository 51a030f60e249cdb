use std::sync::Arc;

use cellblock_agents::Image;

use super::*;

fn parameters(json: &str) -> Parameters {
    serde_json::from_str(json).unwrap()
}

#[test]
fn parameters_of_a_request_replace_those_of_the_client() {
    let requested = parameters(r#"{"temperature": 0.5, "stop": ["a"], "extra": {"k": 1}}"#);
    let defaults = parameters(
        r#"{"temperature": 0.1, "top_p": 0.9, "stop": ["b"], "seed": 7,
            "extra": {"k": 2, "l": 3}}"#,
    );
    let settings = Settings::merge(&requested, &defaults);
    assert_eq!(
        (settings.temperature, settings.top_p, settings.seed),
        (Some(0.5), Some(0.9), Some(7))
    );
    assert_eq!(settings.stop, ["a"]);
    assert_eq!(Value::Object(settings.extra.into_owned()), serde_json::json!({"k": 1, "l": 3}));
    let none = Parameters::default();
    assert_eq!(Settings::merge(&none, &defaults).stop, ["b"]);
    assert_eq!(Settings::merge(&requested, &none).extra.len(), 1);
}

#[test]
fn extra_fields_cannot_replace_reserved_ones() {
    let none = Parameters::default();
    for (extra, refused) in [("model", true), ("messages", true), ("user", false)] {
        let requested = parameters(&format!(r#"{{"extra": {{"{extra}": 1}}}}"#));
        let result = Settings::merge(&requested, &none).check_extra("acme", &["messages"]);
        assert_eq!(result.is_err(), refused, "{extra}");
    }
}

#[test]
fn names_become_what_providers_allow() {
    assert_eq!(allowed_name("story-writer_2").as_deref(), Some("story-writer_2"));
    assert_eq!(allowed_name("Kim Min-jun (PM)").as_deref(), Some("Kim_Min-jun__PM_"));
    assert_eq!(allowed_name(&"x".repeat(99)).map(|name| name.len()), Some(64));
    assert_eq!(allowed_name("김민준"), None);
    assert_eq!(allowed_name(""), None);
}

#[test]
fn images_that_cannot_be_seen_leave_a_note() {
    let image = Image { media_type: "image/png".to_owned(), data: Arc::new(vec![1, 2, 3]) };
    let parts = [Part::Text { text: "look".to_owned() }, Part::Image(image)];
    assert_eq!(text_with_image_notes(&parts), "look\n[an image that you cannot see: image/png]");
    assert_eq!(text_with_image_notes(&[]), "");
}

#[test]
fn names_stand_before_the_text() {
    assert_eq!(with_speaker(Some("Kim"), "hi".into()), "Kim: hi");
    assert_eq!(with_speaker(Some(" "), "hi".into()), "hi");
    assert_eq!(with_speaker(None, "hi".into()), "hi");
}

#[test]
fn calls_without_an_id_get_the_same_one_each_time() {
    let call = |number, name: &str, arguments: &str| {
        tool_call(number, Some(String::new()), name.into(), arguments.into())
    };
    assert_eq!(call(0, "add", "{}").id, call(0, "add", "{}").id);
    assert_ne!(call(0, "add", "{}").id, call(1, "add", "{}").id);
    assert_ne!(call(0, "add", "{}").id, call(0, "sub", "{}").id);
    assert_eq!(tool_call(0, Some("c1".to_owned()), "add".into(), " ".into()).arguments, "{}");
    assert_eq!(tool_call(0, Some("c1".to_owned()), "add".into(), " ".into()).id, "c1");
}

#[test]
fn arguments_that_are_no_object_are_kept_as_text() {
    assert_eq!(object(r#"{"a": 1}"#), serde_json::json!({"a": 1}));
    assert_eq!(object("[1]"), serde_json::json!({"arguments": "[1]"}));
    assert_eq!(object("{broken"), serde_json::json!({"arguments": "{broken"}));
}

fn object(text: &str) -> Value {
    arguments_object(&ToolCall { id: "1".into(), name: "t".into(), arguments: text.into() })
}
