//! Tools that running code calls.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use cellblock_agents::{
    Agent, Approval, Chat, ChatResult, CodeExecution, Decision, HumanInputMode, Proposal,
    tool::FunctionTool,
};

use super::*;
use crate::{
    cast::{python, script},
    fake::Fake,
};

fn from_code(approval: Approval, tool: FunctionTool, program: &str) -> (Chat, Fake) {
    let fake = Fake::default();
    let code = Some(CodeExecution {
        tools: vec![Arc::new(tool)],
        approval,
        ..CodeExecution::new(Arc::new(fake.clone()))
    });
    let user = Agent { code, human_input: HumanInputMode::Never, ..Agent::new("user") };
    let assistant = Agent::assistant("assistant", script([python(program)]));
    (Chat { max_turns: Some(2), ..Chat::between(user, assistant) }, fake)
}

async fn run_from_code(approval: Approval, tool: FunctionTool, program: &str) -> ChatResult {
    from_code(approval, tool, program).0.run("hi").await.unwrap()
}

#[tokio::test]
async fn code_calls_tools_and_each_call_is_recorded() {
    let program = "call length {\"text\":\"abc\"}\ncall length {\"text\":\"abcde\"}";
    let result = run_from_code(Approval::Never, length(), program).await;
    assert_eq!(result.history[2].text(), "exitcode: 0 (execution succeeded)\nCode output: 3\n5\n");
    let calls: Vec<_> = result
        .tool_calls
        .iter()
        .map(|call| {
            (call.agent.as_str(), call.arguments.as_str(), call.answer.as_str(), call.from_code)
        })
        .collect();
    assert_eq!(
        calls,
        [("user", r#"{"text":"abc"}"#, "3", true), ("user", r#"{"text":"abcde"}"#, "5", true)]
    );
    // Arguments that do not fit the schema are the program's error, and recorded.
    let result = run_from_code(Approval::Never, length(), "call length {\"text\":1}").await;
    assert!(
        result.history[2].text().contains("host.ToolError: the arguments do not match the schema"),
        "{}",
        result.history[2].text()
    );
    assert!(result.tool_calls[0].is_error);
}

#[tokio::test]
async fn tools_in_code_need_the_same_approval() {
    let code_only = |verdict: Decision| {
        Approval::Policy(Arc::new(move |proposal: &Proposal| {
            Some(match proposal {
                Proposal::Tool { from_code: true, .. } => verdict.clone(),
                _ => Decision::Approve,
            })
        }))
    };
    let (tool, calls) = dangerous();
    let refused = code_only(Decision::Skip { why: "no".to_owned() });
    let result = run_from_code(refused, tool, "call launch {}").await;
    assert!(
        result.history[2].text().contains("the call was refused: no"),
        "{}",
        result.history[2].text()
    );
    assert_eq!(calls.load(Ordering::SeqCst), 0);
    assert!(result.tool_calls[0].is_error && result.tool_calls[0].from_code);
    // Control. A function without arguments takes null, not an object, so this one takes a text.
    let mut tool = length();
    tool.needs_approval = true;
    let result =
        run_from_code(code_only(Decision::Approve), tool, "call length {\"text\":\"abc\"}").await;
    assert_eq!(result.history[2].text(), "exitcode: 0 (execution succeeded)\nCode output: 3\n");
}

#[tokio::test]
async fn calls_of_code_that_is_cut_off_are_recorded() {
    let (chat, fake) = from_code(Approval::Never, length(), "call length {\"text\":\"abc\"}\nwait");
    let cancel = chat.cancel.clone();
    let running = tokio::spawn(async move { chat.run("hi").await.unwrap() });
    while fake.waiting() == 0 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    cancel.cancel();
    assert_eq!(running.await.unwrap().tool_calls.len(), 1);
}

#[tokio::test]
async fn a_thousand_calls_are_recorded_and_the_rest_counted() {
    let program = "call length {\"text\":\"a\"}\n".repeat(1200);
    let result = run_from_code(Approval::Never, length(), &program).await;
    assert_eq!(result.tool_calls.len(), 1000);
    assert!(result.history[2].text().ends_with("note: 200 more tool calls are not in the record"));
}

/// A call that runs when the code is ended may have had its effect: it is recorded.
#[tokio::test]
async fn a_call_that_is_cut_off_is_recorded() {
    let (entered, mut waits) = tokio::sync::mpsc::unbounded_channel();
    let spec = length().spec;
    let endless = tool::function_with_spec(spec, move |_, _| {
        entered.send(()).unwrap();
        std::future::pending()
    });
    let (chat, _) = from_code(Approval::Never, endless, "call length {\"text\":\"abc\"}");
    let cancel = chat.cancel.clone();
    let running = tokio::spawn(async move { chat.run("hi").await.unwrap() });
    waits.recv().await.unwrap();
    cancel.cancel();
    let result = running.await.unwrap();
    let [call] = &result.tool_calls[..] else { panic!("{:?}", result.tool_calls) };
    assert!(call.is_error && call.answer.contains("ended during this call"), "{call:?}");
}
