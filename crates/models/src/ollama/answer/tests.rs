use serde_json::json;

use super::*;

fn lines(lines: &[Value]) -> Result<(Completion, String), AnswerError> {
    let (mut answer, mut heard) = (OllamaAnswer::default(), String::new());
    for line in lines {
        answer.add_piece(&line.to_string(), &mut |text| heard.push_str(text))?;
    }
    answer.finish()?;
    Ok((Box::new(answer).into_completion("asked"), heard))
}

fn line(text: &str) -> Value {
    json!({"model": "llama3", "message": {"role": "assistant", "content": text}, "done": false})
}

#[test]
fn lines_are_assembled() {
    let end = json!({"model": "llama3", "message": {"role": "assistant", "content": ""},
        "done": true, "done_reason": "stop", "prompt_eval_count": 26, "eval_count": 9});
    let (completion, heard) = lines(&[line("he"), line("llo"), end]).unwrap();
    assert_eq!((completion.content.as_str(), heard.as_str()), ("hello", "hello"));
    assert_eq!(completion.usage, Usage { prompt_tokens: 26, completion_tokens: 9 });
    assert_eq!((completion.model.as_str(), completion.finish), ("llama3", FinishReason::Stop));
}

#[test]
fn tool_calls_get_stable_ids() {
    let call = json!({"message": {"content": "", "tool_calls": [
        {"function": {"name": "add", "arguments": {"a": 1}}}, {"function": {"name": "now"}}]},
        "done": true});
    let (one, _) = lines(std::slice::from_ref(&call)).unwrap();
    let (two, _) = lines(&[call]).unwrap();
    assert_eq!(one.finish, FinishReason::ToolCalls);
    assert_eq!(one.tool_calls, two.tool_calls);
    let arguments: Vec<_> = one.tool_calls.iter().map(|call| call.arguments.as_str()).collect();
    assert_eq!(arguments, ["{\"a\":1}", "{}"]);
}

#[test]
fn invalid_answers_are_refused() {
    assert!(matches!(lines(&[line("he")]), Err(AnswerError::Unfinished)));
    let broken = lines(&[line("he"), json!({"error": "out of memory"})]);
    assert!(
        matches!(&broken, Err(AnswerError::Refused(Refusal { message, .. }))
            if message == "out of memory"),
        "{broken:?}"
    );
    let whole = |json: Value| OllamaAnswer::default().add_whole(json.to_string().as_bytes());
    assert!(matches!(whole(json!({"done": true})), Err(AnswerError::Malformed(_))));
    assert!(matches!(whole(json!({"error": "x"})), Err(AnswerError::Refused(_))));
    assert!(whole(line("all")).is_ok());
    assert!(matches!(
        lines(&[json!({"message": {"tool_calls": [{}]}})]),
        Err(AnswerError::Malformed(_))
    ));
}
