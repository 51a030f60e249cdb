//! The scripted model: order, functions, streaming.

use std::sync::Arc;

use super::*;
use crate::model::ModelMessage;

#[tokio::test]
async fn answers_come_in_order_and_end() {
    let model = ScriptedModel::new("m", ["one", "two"]).usage(3, 4).cost(0.5);
    let request = ModelRequest { system: "s".to_owned(), ..ModelRequest::default() };
    let first = model.complete(&request, None).await.unwrap();
    assert_eq!((first.content.as_str(), first.usage.prompt_tokens, first.cost), ("one", 3, 0.5));
    assert_eq!(model.remaining(), 1);
    assert_eq!(model.complete(&request, None).await.unwrap().content, "two");
    let error = model.complete(&request, None).await.unwrap_err();
    assert_eq!(error.to_string(), "the script of m ended after 2 answers");
    assert_eq!(model.requests(), vec![request; 3]);
}

#[tokio::test]
async fn a_function_sees_the_request_and_may_fail() {
    let model = ScriptedModel::with(|request| match request.messages.first() {
        Some(ModelMessage::User { content, .. }) => Ok(content.text().to_uppercase()),
        _ => Err(ModelError::Unanswered("nothing was said".to_owned())),
    })
    .named("loud");
    let messages = vec![ModelMessage::User { name: None, content: "hi".into() }];
    let answer =
        model.complete(&ModelRequest { messages, ..ModelRequest::default() }, None).await.unwrap();
    assert_eq!((answer.content.as_str(), answer.model.as_str()), ("HI", "loud"));
    assert!(model.complete(&ModelRequest::default(), None).await.is_err());
}

#[tokio::test]
async fn tool_calls_and_streaming() {
    let answers =
        [ScriptedAnswer::call("add", r#"{"a":1}"#), "the sum is one, which is little".into()];
    let model = ScriptedModel::new("m", answers).counting_only();
    let call = model.complete(&ModelRequest::default(), None).await.unwrap();
    assert_eq!((call.finish, call.tool_calls[0].name.as_str()), (FinishReason::ToolCalls, "add"));
    let heard = Arc::new(Mutex::new(Vec::new()));
    let sink: TextSink = {
        let heard = heard.clone();
        Arc::new(move |text: &str| heard.lock().push(text.to_owned()))
    };
    let answer = model.complete(&ModelRequest::default(), Some(&sink)).await.unwrap();
    let heard = heard.lock();
    assert!(heard.len() > 1, "{heard:?}");
    assert_eq!(heard.concat(), answer.content);
    assert_eq!((model.calls(), model.requests().len()), (2, 0));
}

#[test]
fn pieces_joined_are_the_text() {
    for text in [
        "",
        " ",
        "one",
        "a joke about numbers, and\n\n```python\nprint('ä ö ü')\n```\n",
        "日本語 の テキスト です ね え",
    ] {
        assert_eq!(pieces(text).collect::<String>(), text);
        assert!(pieces(text).all(|piece| !piece.is_empty()));
    }
    assert!(pieces("a joke about numbers, and more of them").count() > 2);
}
