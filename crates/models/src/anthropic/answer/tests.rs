use serde_json::json;

use super::*;

fn pieces(pieces: &[Value]) -> Result<(Completion, String), AnswerError> {
    let (mut answer, mut heard) = (AnthropicAnswer::default(), String::new());
    for piece in pieces {
        answer.add_piece(&piece.to_string(), &mut |text| heard.push_str(text))?;
    }
    answer.finish()?;
    Ok((Box::new(answer).into_completion("asked"), heard))
}

fn whole(json: Value) -> Result<Completion, AnswerError> {
    let mut answer = AnthropicAnswer::default();
    answer.add_whole(json.to_string().as_bytes())?;
    answer.finish()?;
    Ok(Box::new(answer).into_completion("asked"))
}

#[test]
fn a_whole_answer_is_read() {
    let completion = whole(json!({
        "type": "message", "model": "claude-x", "role": "assistant", "stop_reason": "tool_use",
        "content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "I add."},
            {"type": "tool_use", "id": "t1", "name": "add", "input": {"a": 1}}],
        "usage": {"input_tokens": 10, "cache_read_input_tokens": 100,
            "cache_creation_input_tokens": null, "output_tokens": 5}
    }))
    .unwrap();
    assert_eq!(completion.content, "I add.");
    assert_eq!(completion.finish, FinishReason::ToolCalls);
    assert_eq!(completion.tool_calls[0].arguments, r#"{"a":1}"#);
    assert_eq!(completion.usage, Usage { prompt_tokens: 110, completion_tokens: 5 });
}

#[test]
fn reasons_to_stop_are_distinguished() {
    for (reason, finish) in [
        ("end_turn", FinishReason::Stop),
        ("stop_sequence", FinishReason::Stop),
        ("max_tokens", FinishReason::Length),
        ("refusal", FinishReason::Filtered),
        ("pause_turn", FinishReason::Other),
    ] {
        assert_eq!(
            whole(json!({"content": [], "stop_reason": reason})).unwrap().finish,
            finish,
            "{reason}"
        );
    }
}

#[test]
fn events_are_assembled() {
    let start = |index: u64, block: Value| {
        let kind = "content_block_start";
        json!({"type": kind, "index": index, "content_block": block})
    };
    let delta = |index: u64, delta: Value| {
        let kind = "content_block_delta";
        json!({"type": kind, "index": index, "delta": delta})
    };
    let call =
        |id: &str, name: &str| json!({"type": "tool_use", "id": id, "name": name, "input": {}});
    let input = |json: &str| json!({"type": "input_json_delta", "partial_json": json});
    let (completion, heard) = pieces(&[
        json!({"type": "message_start", "message": {"model": "claude-x", "content": [],
            "usage": {"input_tokens": 25, "output_tokens": 1}}}),
        json!({"type": "ping"}),
        start(0, json!({"type": "text", "text": ""})),
        delta(0, json!({"type": "text_delta", "text": "I "})),
        delta(0, json!({"type": "text_delta", "text": "add."})),
        json!({"type": "content_block_stop", "index": 0}),
        start(1, call("t1", "add")),
        delta(1, input("{\"a\"")),
        delta(1, input(":1}")),
        start(2, call("t2", "now")),
        json!({"type": "something_new", "index": 1}),
        json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"},
            "usage": {"output_tokens": 15}}),
        json!({"type": "message_stop"}),
    ])
    .unwrap();
    assert_eq!((completion.content.as_str(), heard.as_str()), ("I add.", "I add."));
    assert_eq!(completion.model, "claude-x");
    assert_eq!(completion.usage, Usage { prompt_tokens: 25, completion_tokens: 15 });
    let arguments: Vec<_> =
        completion.tool_calls.iter().map(|call| call.arguments.as_str()).collect();
    assert_eq!(arguments, ["{\"a\":1}", "{}"]);
}

#[test]
fn invalid_answers_are_refused() {
    let overloaded =
        json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}});
    for result in
        [pieces(std::slice::from_ref(&overloaded)).map(|_| ()), whole(overloaded).map(|_| ())]
    {
        assert!(
            matches!(result, Err(AnswerError::Refused(Refusal { status: 529, .. }))),
            "{result:?}"
        );
    }
    for body in
        [json!({}), json!([]), json!({"content": 1}), json!({"content": [{"type": "text"}]})]
    {
        assert!(matches!(whole(body.clone()), Err(AnswerError::Malformed(_))), "{body}");
    }
    let start = json!({"type": "content_block_start", "index": 0,
        "content_block": {"type": "text", "text": "a"}});
    assert!(matches!(pieces(&[start]), Err(AnswerError::Unfinished)));
    assert!(matches!(pieces(&[json!("x")]), Err(AnswerError::Malformed(_))));
}
