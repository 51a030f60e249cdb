use serde_json::json;

use super::*;

fn whole(json: Value) -> Result<Completion, AnswerError> {
    let mut answer = OpenAiAnswer::default();
    answer.add_whole(json.to_string().as_bytes())?;
    answer.finish()?;
    Ok(Box::new(answer).into_completion("asked"))
}

fn pieces(pieces: &[Value]) -> Result<(Completion, Vec<String>), AnswerError> {
    let (mut answer, mut heard) = (OpenAiAnswer::default(), Vec::new());
    for piece in pieces {
        answer.add_piece(&piece.to_string(), &mut |text| heard.push(text.to_owned()))?;
    }
    answer.finish()?;
    Ok((Box::new(answer).into_completion("asked"), heard))
}

fn delta(delta: Value) -> Value {
    json!({"choices": [{"index": 0, "delta": delta, "finish_reason": null}]})
}

fn end(reason: &str) -> Value {
    json!({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
}

#[test]
fn a_whole_answer_is_read() {
    let completion = whole(json!({
        "model": "gpt-4-0613",
        "choices": [{"message": {"role": "assistant", "content": "hello"},
            "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
    }))
    .unwrap();
    assert_eq!(completion.content, "hello");
    assert_eq!(completion.model, "gpt-4-0613");
    assert_eq!(completion.finish, FinishReason::Stop);
    assert_eq!(completion.usage, Usage { prompt_tokens: 100, completion_tokens: 10 });
}

#[test]
fn missing_fields_and_other_notations_are_understood() {
    let bare = whole(json!({"choices": [{"message": {"content": null}}]})).unwrap();
    assert_eq!(
        (bare.content.as_str(), bare.model.as_str(), bare.finish),
        ("", "asked", FinishReason::Stop)
    );
    let parts =
        json!([{"type": "text", "text": "a"}, {"type": "other"}, {"type": "text", "text": "b"}]);
    assert_eq!(whole(json!({"choices": [{"message": {"content": parts}}]})).unwrap().content, "ab");
    let nulls = json!({"choices": [{"message": {"content": "x"}}],
        "usage": {"prompt_tokens": null}, "error": null});
    assert_eq!(whole(nulls).unwrap().usage, Usage::default());
}

#[test]
fn servers_may_send_pieces_and_the_whole_beside_each_other() {
    let both = |delta: &str, message: &str, reason: Value| {
        json!({"choices": [{"delta": {"content": delta}, "message": {"content": message},
            "finish_reason": reason}]})
    };
    let (completion, heard) = pieces(&[
        both("he", "he", Value::Null),
        both("llo", "hello", Value::Null),
        both("", "hello", json!("stop")),
    ])
    .unwrap();
    assert_eq!((completion.content.as_str(), heard.concat().as_str()), ("hello", "hello"));
    assert_eq!(whole(both("", "hello", json!("stop"))).unwrap().content, "hello");
}

#[test]
fn reasons_to_finish_are_distinguished() {
    for (reason, finish) in [
        ("stop", FinishReason::Stop),
        ("length", FinishReason::Length),
        ("content_filter", FinishReason::Filtered),
        ("something", FinishReason::Other),
    ] {
        let body = json!({"choices": [{"message": {"content": "x"}, "finish_reason": reason}]});
        assert_eq!(whole(body).unwrap().finish, finish, "{reason}");
    }
    let refusal =
        whole(json!({"choices": [{"message": {"refusal": "no"}, "finish_reason": "stop"}]}))
            .unwrap();
    assert_eq!((refusal.content.as_str(), refusal.finish), ("no", FinishReason::Filtered));
}

#[test]
fn invalid_answers_are_refused() {
    for body in [json!({}), json!({"choices": []}), json!([]), json!("x"), json!({"choices": 3})] {
        assert!(matches!(whole(body.clone()), Err(AnswerError::Malformed(_))), "{body}");
    }
    let call = json!({"id": "1", "function": {"arguments": "{}"}});
    let nameless = json!({"choices": [{"message": {"tool_calls": [call]}}]});
    assert!(matches!(whole(nameless), Err(AnswerError::Malformed(_))));
    let error = whole(json!({"error": {"message": "busy", "code": 502}})).unwrap_err();
    assert!(matches!(error, AnswerError::Refused(Refusal { status: 502, .. })), "{error:?}");
}

#[test]
fn pieces_are_assembled() {
    let (completion, heard) = pieces(&[
        delta(json!({"role": "assistant", "content": ""})),
        delta(json!({"content": "he"})),
        delta(json!({"content": "llo"})),
        end("stop"),
        json!({"model": "m2", "choices": [],
            "usage": {"prompt_tokens": 1, "completion_tokens": 2}}),
    ])
    .unwrap();
    assert_eq!(completion.content, "hello");
    assert_eq!(heard.concat(), "hello");
    assert_eq!(completion.usage, Usage { prompt_tokens: 1, completion_tokens: 2 });
    assert_eq!(completion.model, "m2");
}

#[test]
fn tool_calls_are_assembled_from_their_pieces() {
    let call = |index: u64, id: Value, name: Value, arguments: &str| {
        let function = json!({"name": name, "arguments": arguments});
        delta(json!({"tool_calls": [{"index": index, "id": id, "function": function}]}))
    };
    let none = Value::Null;
    let (completion, _) = pieces(&[
        call(0, json!("c0"), json!("add"), ""),
        call(0, none.clone(), none.clone(), "{\"a\""),
        call(1_000_000_000_000, json!("c1"), json!("sub"), "{}"),
        call(0, none.clone(), none, ":1}"),
        end("stop"),
    ])
    .unwrap();
    assert_eq!(completion.finish, FinishReason::ToolCalls);
    let calls: Vec<_> = completion
        .tool_calls
        .iter()
        .map(|call| (call.id.as_str(), call.name.as_str(), call.arguments.as_str()))
        .collect();
    assert_eq!(calls, [("c0", "add", "{\"a\":1}"), ("c1", "sub", "{}")]);
}

#[test]
fn tool_calls_without_numbers_or_ids_and_with_objects_are_understood() {
    let (completion, _) = pieces(&[
        delta(json!({"tool_calls": [{"function": {"name": "add", "arguments": {"a": 1}}}]})),
        delta(json!({"tool_calls": [{"function": {"name": "add", "arguments": {"a": 2}}}]})),
        end("tool_calls"),
    ])
    .unwrap();
    assert_eq!(completion.tool_calls.len(), 2);
    assert_eq!(completion.tool_calls[1].arguments, "{\"a\":2}");
    assert_ne!(completion.tool_calls[0].id, completion.tool_calls[1].id);
}

#[test]
fn a_stream_that_stops_in_the_middle_is_unfinished() {
    let middle = [delta(json!({"content": "hel"}))];
    assert!(matches!(pieces(&middle), Err(AnswerError::Unfinished)));
    // Control: after a reason to finish, `[DONE]` is not needed.
    assert!(pieces(&[delta(json!({"content": "hel"})), end("stop")]).is_ok());
    let mut answer = OpenAiAnswer::default();
    assert_eq!(answer.add_piece("[DONE]", &mut |_| {}).unwrap(), StreamState::Ended);
    assert!(answer.finish().is_ok());
}

#[test]
fn a_reported_cost_is_used_if_it_is_valid() {
    for (cost, reported) in [(json!(0.25), Some(0.25)), (json!(-1), None), (Value::Null, None)] {
        let mut answer = OpenAiAnswer::default();
        let body = json!({"choices": [{"message": {"content": "x"}}], "usage": {"cost": cost}});
        answer.add_whole(body.to_string().as_bytes()).unwrap();
        assert_eq!(answer.reported_cost(), reported);
    }
}
