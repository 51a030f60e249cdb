use serde_json::json;

use super::*;

fn lines(lines: &[Value]) -> Result<(Completion, String), Fault> {
    let (mut answer, mut heard) = (Answer::default(), String::new());
    for line in lines {
        answer.piece(&line.to_string(), &mut |text| heard.push_str(text))?;
    }
    answer.end()?;
    Ok((answer.completion("asked"), heard))
}

fn said(text: &str) -> Value {
    json!({"model": "llama3", "message": {"role": "assistant", "content": text}, "done": false})
}

#[test]
fn lines_are_put_together() {
    let end = json!({"model": "llama3", "message": {"role": "assistant", "content": ""}, "done": true, "done_reason": "stop",
        "prompt_eval_count": 26, "eval_count": 9});
    let (completion, heard) = lines(&[said("he"), said("llo"), end]).unwrap();
    assert_eq!((completion.content.as_str(), heard.as_str()), ("hello", "hello"));
    assert_eq!(completion.usage, Usage { prompt_tokens: 26, completion_tokens: 9 });
    assert_eq!((completion.model.as_str(), completion.finish), ("llama3", FinishReason::Stop));
}

#[test]
fn tool_calls_get_ids_that_stay_the_same() {
    let call = json!({"message": {"content": "", "tool_calls": [
        {"function": {"name": "add", "arguments": {"a": 1}}}, {"function": {"name": "now"}}]}, "done": true});
    let (one, _) = lines(std::slice::from_ref(&call)).unwrap();
    let (two, _) = lines(&[call]).unwrap();
    assert_eq!(one.finish, FinishReason::ToolCalls);
    assert_eq!(one.tool_calls, two.tool_calls);
    let arguments: Vec<_> = one.tool_calls.iter().map(|call| call.arguments.as_str()).collect();
    assert_eq!(arguments, ["{\"a\":1}", "{}"]);
}

#[test]
fn what_is_no_answer_is_refused() {
    assert!(matches!(lines(&[said("he")]), Err(Fault::Unfinished)));
    let broken = lines(&[said("he"), json!({"error": "out of memory"})]);
    assert!(
        matches!(&broken, Err(Fault::Refused(Refusal { message, .. })) if message == "out of memory"),
        "{broken:?}"
    );
    let whole = |json: Value| Answer::default().whole(json.to_string().as_bytes());
    assert!(matches!(whole(json!({"done": true})), Err(Fault::Malformed(_))));
    assert!(matches!(whole(json!({"error": "x"})), Err(Fault::Refused(_))));
    assert!(whole(said("all")).is_ok());
    assert!(matches!(lines(&[json!({"message": {"tool_calls": [{}]}})]), Err(Fault::Malformed(_))));
}
