use std::sync::Arc;

use cellblock_agents::Image;

use super::*;

fn parameters(json: &str) -> Parameters {
    serde_json::from_str(json).unwrap()
}

#[test]
fn what_a_request_says_wins_over_what_is_usual() {
    let asked = parameters(r#"{"temperature": 0.5, "stop": ["a"], "extra": {"k": 1}}"#);
    let usual = parameters(
        r#"{"temperature": 0.1, "top_p": 0.9, "stop": ["b"], "seed": 7, "extra": {"k": 2, "l": 3}}"#,
    );
    let settings = Settings::of(&asked, &usual);
    assert_eq!(
        (settings.temperature, settings.top_p, settings.seed),
        (Some(0.5), Some(0.9), Some(7))
    );
    assert_eq!(settings.stop, ["a"]);
    assert_eq!(Value::Object(settings.extra.into_owned()), serde_json::json!({"k": 1, "l": 3}));
    let none = Parameters::default();
    assert_eq!(Settings::of(&none, &usual).stop, ["b"]);
    assert_eq!(Settings::of(&asked, &none).extra.len(), 1);
}

#[test]
fn further_fields_cannot_take_the_place_of_ours() {
    let none = Parameters::default();
    for (extra, refused) in [("model", true), ("messages", true), ("user", false)] {
        let asked = parameters(&format!(r#"{{"extra": {{"{extra}": 1}}}}"#));
        let result = Settings::of(&asked, &none).refuse_extra("acme", &["messages"]);
        assert_eq!(result.is_err(), refused, "{extra}");
    }
}

#[test]
fn names_become_what_providers_allow() {
    assert_eq!(label("story-writer_2").as_deref(), Some("story-writer_2"));
    assert_eq!(label("Kim Min-jun (PM)").as_deref(), Some("Kim_Min-jun__PM_"));
    assert_eq!(label(&"x".repeat(99)).map(|label| label.len()), Some(64));
    assert_eq!(label("김민준"), None);
    assert_eq!(label(""), None);
}

#[test]
fn images_that_cannot_be_seen_leave_a_note() {
    let image = Image { media_type: "image/png".to_owned(), data: Arc::new(vec![1, 2, 3]) };
    let parts = [Part::Text { text: "look".to_owned() }, Part::Image(image)];
    assert_eq!(unseen(&parts), "look\n[an image that you cannot see: image/png]");
    assert_eq!(unseen(&[]), "");
}

#[test]
fn names_stand_before_the_text_if_there_are_any() {
    assert_eq!(spoken(Some("Kim"), "hi".into()), "Kim: hi");
    assert_eq!(spoken(Some(" "), "hi".into()), "hi");
    assert_eq!(spoken(None, "hi".into()), "hi");
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
    let call = |arguments: &str| arguments_of(arguments);
    assert_eq!(call(r#"{"a": 1}"#), serde_json::json!({"a": 1}));
    assert_eq!(call("[1]"), serde_json::json!({"arguments": "[1]"}));
    assert_eq!(call("{broken"), serde_json::json!({"arguments": "{broken"}));
}

fn arguments_of(text: &str) -> Value {
    arguments(&ToolCall { id: "1".into(), name: "t".into(), arguments: text.into() })
}
