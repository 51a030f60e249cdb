//! Questions of programs, valid and invalid, and their answers.

#![allow(clippy::unwrap_used)]

use std::sync::Mutex;

use serde_json::json;

use super::*;

/// Offers `echo`, which returns its arguments, and `fail`. Records the calls.
#[derive(Debug, Default)]
struct Echo(Mutex<Vec<String>>);

#[async_trait::async_trait]
impl HostTools for Echo {
    fn functions(&self) -> Vec<HostFunction> {
        ["echo", "fail", "large"]
            .map(|name| HostFunction {
                name: name.to_owned(),
                description: String::new(),
                parameters: json!({"type": "object"}),
            })
            .to_vec()
    }

    async fn call(&self, name: &str, arguments: Map<String, Value>) -> Result<Value, String> {
        self.0.lock().unwrap().push(name.to_owned());
        match name {
            "fail" => {
                Err(arguments.get("why").and_then(Value::as_str).unwrap_or_default().to_owned())
            }
            "large" => Ok(Value::String("x".repeat(MAX_HOST_CALL_BYTES - 1))),
            _ => Ok(Value::Object(arguments)),
        }
    }
}

fn text(answer: &[u8]) -> (char, String) {
    (char::from(answer[0]), String::from_utf8(answer[1..].to_vec()).unwrap())
}

#[tokio::test]
async fn questions_are_answered_and_nonsense_is_refused() {
    let echo = Arc::new(Echo::default());
    let calls = HostCalls::new(Some(echo.clone()));
    let deep = format!("c[\"echo\",{{\"a\":{}", "[".repeat(10_000));
    let many = format!("c[\"echo\",{{\"a\":[{}]}}]", ["[]"; MAX_CONTAINERS].join(","));
    let values = format!("c[\"echo\",{{\"a\":[{}]}}]", ["0"; MAX_VALUES].join(","));
    let brackets =
        format!("c[\"echo\",{{\"a\":\"{}\\\"{}\"}}]", "[".repeat(300_000), ",".repeat(1_200_000));
    for (question, kind, expected) in [
        (r#"c["echo",{"a":[1,"ü"]}]"#, 'v', r#"{"a":[1,"ü"]}"#),
        (r#"c["fail",{"why":"no such page"}]"#, 'e', "no such page"),
        (r#"c["fail",{}]"#, 'e', "fail failed"),
        (r#"c["other",{}]"#, 'e', "there is no function \"other\"; there are: echo, fail, large"),
        (r#"c["echo",[]]"#, 'e', "the arguments cannot be read"),
        (r#"c["echo",{}"#, 'e', "the arguments cannot be read"),
        (r#"c["echo",{"a":NaN}]"#, 'e', "the arguments cannot be read"),
        ("c", 'e', "the arguments cannot be read"),
        ("", 'e', "does not know"),
        ("\u{0}", 'e', "does not know"),
        (deep.as_str(), 'e', "the arguments cannot be read: recursion limit"),
        (many.as_str(), 'e', "more than 100000 lists"),
        (values.as_str(), 'e', "more than 100000 lists"),
        (brackets.as_str(), 'v', "{\"a\":\"[[[["),
    ] {
        let answer = text(&calls.answer(question.into()).await);
        assert!(
            answer.0 == kind && answer.1.contains(expected),
            "{}: {:.200}",
            &question[..10.min(question.len())],
            answer.1
        );
    }
    let list: Vec<HostFunction> =
        serde_json::from_slice(&calls.answer(b"l".to_vec()).await[1..]).unwrap();
    assert_eq!(list, echo.functions());
    assert_eq!(
        *echo.0.lock().unwrap(),
        ["echo", "fail", "fail", "echo"],
        "what is refused is not called"
    );
}

#[tokio::test]
async fn both_directions_have_a_maximum_length() {
    let calls = HostCalls::new(Some(Arc::new(Echo::default())));
    let around = r#"["echo",{"a":""}]"#.len();
    let longest = "x".repeat(MAX_HOST_CALL_BYTES - around);
    let answer = calls.answer(format!(r#"c["echo",{{"a":"{longest}"}}]"#).into()).await;
    assert_eq!((answer[0], answer.len()), (b'v', longest.len() + r#"{"a":""}"#.len() + 1));
    let answer = text(&calls.answer(format!(r#"c["echo",{{"a":"{longest}x"}}]"#).into()).await);
    assert_eq!(
        answer,
        ('e', "the arguments are longer than 8388608 bytes as JSON; pass less at once".to_owned())
    );
    // Its quotes make it one byte too long.
    let answer = text(&calls.answer(br#"c["large",{}]"#.to_vec()).await);
    assert_eq!(answer, ('e', "the result is longer than 8388608 bytes as JSON".to_owned()));
    let why = "ü".repeat(MAX_HOST_CALL_BYTES / 2 - 20);
    let answer = calls.answer(format!(r#"c["fail",{{"why":"{why}"}}]"#).into()).await;
    assert_eq!((answer[0], answer.len()), (b'e', why.len() + 1));
}

#[tokio::test]
async fn without_a_grant_nothing_can_be_called() {
    let calls = HostCalls::default();
    assert_eq!(calls.answer(b"l".to_vec()).await, b"v[]");
    let answer = text(&calls.answer(br#"c["echo",{}]"#.to_vec()).await);
    assert_eq!(answer, ('e', "this block cannot call host functions".to_owned()));
}
