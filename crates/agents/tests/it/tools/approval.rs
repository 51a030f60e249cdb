//! Approval of tool calls.

use std::sync::{Arc, atomic::Ordering};

use cellblock_agents::{Agent, Approval, CodeExecution, Decision, Proposal, ScriptedHuman};

use super::*;
use crate::fake::Fake;

/// The result for the model of a call that needs approval, and the number of calls of the tool.
async fn approved(approval: Option<Approval>, decisions: Vec<Decision>) -> (String, usize) {
    let (tool, calls) = dangerous();
    let (mut chat, _) = chat_with(vec![tool], vec![call("1", "launch", "null")]);
    let code = approval.map(|approval| CodeExecution {
        approval,
        ..CodeExecution::new(Arc::new(Fake::default()))
    });
    let human = Arc::new(ScriptedHuman::new::<&str>([]).deciding(decisions));
    chat.agents[0] = Agent { code, human, ..chat.agents[0].clone() };
    let result = chat.run("hi").await.unwrap();
    (result.history[2].tool_results[0].content.clone(), calls.load(Ordering::SeqCst))
}

#[tokio::test]
async fn approval_of_a_tool() {
    let launched = ("launched".to_owned(), 1);
    let skip = |why: &str| Decision::Skip { why: why.to_owned() };
    // Code without approval does not mean tools without approval.
    assert_eq!(approved(Some(Approval::Never), vec![Decision::Approve]).await, launched);
    let told = approved(Some(Approval::Never), vec![skip("not today")]).await;
    assert_eq!(told, ("Error: the call was refused: not today".to_owned(), 0));
    assert_eq!(approved(Some(Approval::Always), vec![Decision::Approve]).await, launched);
    let told = approved(Some(Approval::Always), vec![skip("not today")]).await;
    assert_eq!(told, ("Error: the call was refused: not today".to_owned(), 0));
    let told = approved(
        Some(Approval::Always),
        vec![Decision::Correct { text: "Ask the captain.".to_owned() }],
    )
    .await;
    assert_eq!(told, ("Error: Ask the captain.".to_owned(), 0));
    assert_eq!(
        approved(Some(Approval::Always), vec![Decision::Edit { blocks: vec![] }]).await.1,
        0
    );
    let policy = |decision: Option<Decision>| {
        Approval::Policy(Arc::new(move |_: &Proposal| decision.clone()))
    };
    assert_eq!(approved(Some(policy(Some(Decision::Approve))), vec![]).await, launched);
    assert_eq!(
        approved(Some(policy(Some(skip("")))), vec![]).await,
        ("Error: the call was refused".to_owned(), 0)
    );
    // A policy without a decision asks the person.
    assert_eq!(approved(Some(policy(None)), vec![Decision::Approve]).await, launched);
    assert_eq!(approved(Some(policy(None)), vec![]).await.1, 0);
    let other =
        |decisions| Approval::Human(Arc::new(ScriptedHuman::new::<&str>([]).deciding(decisions)));
    assert_eq!(approved(Some(other(vec![Decision::Approve])), vec![]).await, launched);
    assert_eq!(approved(Some(other(vec![])), vec![Decision::Approve]).await.1, 0);
    // An agent that runs no code has no rule, and asks the person.
    assert_eq!(approved(None, vec![Decision::Approve]).await, launched);
    assert_eq!(approved(None, vec![]).await.1, 0);
}

#[tokio::test]
async fn the_policy_sees_the_call() {
    let rule = Approval::Policy(Arc::new(|proposal: &Proposal| match proposal {
        Proposal::Tool { agent, call, from_code: false }
            if agent == "assistant" && call.name == "launch" =>
        {
            Some(Decision::Approve)
        }
        _ => Some(Decision::Skip { why: format!("{proposal:?}") }),
    }));
    assert_eq!(approved(Some(rule), vec![]).await, ("launched".to_owned(), 1));
}

/// If nobody is present, a tool that needs approval is not called, by a model or by code; another
/// tool is.
#[tokio::test]
async fn nobody_is_there_to_agree() {
    for needs_approval in [true, false] {
        let (mut tool, calls) = dangerous();
        tool.needs_approval = needs_approval;
        let (mut chat, _) = chat_with(vec![tool], vec![call("1", "launch", "null")]);
        chat.agents[0].code = Some(CodeExecution::new(Arc::new(Fake::default())));
        let result = chat.run("hi").await.unwrap();
        let told = &result.history[2].tool_results[0].content;
        assert_eq!(calls.load(Ordering::SeqCst), usize::from(!needs_approval), "{told}");
        assert_eq!(told.contains("no person is available"), needs_approval, "{told}");

        let mut tool = length();
        tool.needs_approval = needs_approval;
        let code = CodeExecution {
            tools: vec![Arc::new(tool)],
            ..CodeExecution::new(Arc::new(Fake::default()))
        };
        let user = Agent { code: Some(code), ..says("user", "") };
        let chat = Chat { max_turns: Some(1), ..Chat::between(says("other", ""), user) };
        let result = chat.run(crate::cast::python("call length {\"text\":\"abc\"}")).await.unwrap();
        assert_eq!(result.tool_calls[0].is_error, needs_approval, "{:?}", result.tool_calls);
    }
}
