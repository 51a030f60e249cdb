//! The caller of a message's tool calls, and the view of their results.

use std::sync::{Arc, atomic::Ordering};

use cellblock_agents::scripted::ScriptedAnswer;
use cellblock_agents::{
    Agent, ChangeMessage, Chat, Message, ModelMessage, ScriptedHuman, Speakers,
};

use super::*;
use crate::{
    cast::{names, runs, says, script},
    fake::Fake,
};

/// In a group the calls are made before anybody else speaks, and the results go to the caller; a
/// third agent gets them as text.
#[tokio::test]
async fn tools_in_a_group() {
    let caller = script([
        ScriptedAnswer::Calls(
            "I count.".to_owned(),
            vec![call("1", "length", r#"{"text":"four"}"#)],
        ),
        "It is 4.".into(),
    ]);
    let third = script(["I heard."]);
    let counter =
        Agent { tools: vec![Arc::new(length())], ..Agent::assistant("counter", caller.clone()) };
    let group = |agents: Vec<Agent>| Chat {
        max_turns: Some(5),
        speakers: Speakers::RoundRobin,
        ..Chat::group(agents)
    };
    let agents = vec![says("user", "hm"), counter, Agent::assistant("third", third.clone())];
    let result = group(agents).run("How long is four?").await.unwrap();
    assert_eq!(names(&result), ["user", "counter", "counter", "counter", "third"]);
    let [_, ModelMessage::Assistant { .. }, ModelMessage::Tool(told)] =
        &caller.requests()[1].messages[..]
    else {
        panic!("{:?}", caller.requests()[1].messages)
    };
    assert_eq!(told.content, "4");
    let seen: Vec<_> = third.requests()[0]
        .messages
        .iter()
        .map(|message| match message {
            ModelMessage::User { name, content } => {
                (name.clone().unwrap(), content.text().into_owned())
            }
            other => panic!("{other:?}"),
        })
        .collect();
    let seen: Vec<_> = seen.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    assert_eq!(
        seen,
        [
            ("user", "How long is four?"),
            ("counter", "I count.\n[calls length with {\"text\":\"four\"}]\n"),
            ("counter", "[result of length: 4]\n"),
            ("counter", "It is 4."),
        ]
    );
}

/// Another agent of the group that has the tool makes the call.
#[tokio::test]
async fn who_has_the_tool_makes_the_call() {
    let caller = script([ScriptedAnswer::call("length", r#"{"text":"four"}"#), "It is 4.".into()]);
    let counter = Agent { tools: vec![Arc::new(length())], ..Agent::assistant("counter", caller) };
    let tool_runner = Agent { tools: vec![Arc::new(length())], ..says("runner", "not said") };
    let agents = vec![says("user", "hm"), counter, says("third", "hm"), tool_runner];
    let chat = Chat { max_turns: Some(4), speakers: Speakers::RoundRobin, ..Chat::group(agents) };
    assert_eq!(
        names(&chat.run("How long?").await.unwrap()),
        ["user", "counter", "runner", "counter"]
    );
}

/// A person's words in place of a tool answer the call, so that the model's conversation stays
/// valid. A hook that hides the call from the person's agent does not change that.
#[tokio::test]
async fn a_person_in_place_of_a_tool() {
    let hides = |message: Message| Message { tool_calls: Vec::new(), ..message };
    for hooks in [Vec::new(), vec![Arc::new(hides) as ChangeMessage]] {
        let (tool, calls) = dangerous();
        let model = script([ScriptedAnswer::call("launch", "null"), "As you like.".into()]);
        let assistant =
            Agent { tools: vec![Arc::new(tool)], ..Agent::assistant("assistant", model.clone()) };
        let human = Arc::new(ScriptedHuman::new(["Do not launch!", "exit"]));
        let mut user = Agent { human, ..Agent::user_proxy("user") };
        user.hooks.last_received = hooks;
        let result = Chat::between(user, assistant).run("hi").await.unwrap();
        assert_eq!(calls.load(Ordering::SeqCst), 0);
        assert_eq!(result.history[2].tool_results[0].content, "USER INTERRUPTED");
        let [_, _, ModelMessage::Tool(told), ModelMessage::User { content, .. }] =
            &model.requests()[1].messages[..]
        else {
            panic!("{:?}", model.requests()[1].messages)
        };
        let told = (told.content.as_str(), &*content.text());
        assert_eq!(told, ("USER INTERRUPTED", "Do not launch!"));
    }
}

/// A call without a result, because another way gave the answer, is closed for the model.
#[tokio::test]
async fn a_call_that_is_never_answered() {
    let model = script([ScriptedAnswer::call("length", "{}"), "well".into()]);
    let assistant =
        Agent { tools: vec![Arc::new(length())], ..Agent::assistant("assistant", model.clone()) };
    let mut user = says("user", "");
    user.replies.insert(0, cellblock_agents::Reply::custom(|_| Some("I do as I please.".into())));
    let chat = Chat { max_turns: Some(2), ..Chat::between(user, assistant) };
    chat.run("hi").await.unwrap();
    let [_, _, ModelMessage::Tool(told), ModelMessage::User { .. }] =
        &model.requests()[1].messages[..]
    else {
        panic!("{:?}", model.requests()[1].messages)
    };
    assert_eq!(told.content, "There is no result of this call.");
}

#[tokio::test]
async fn an_agent_that_runs_code_has_the_tools_called_that_the_other_was_offered() {
    let model = script([ScriptedAnswer::call("length", r#"{"text":"four"}"#), "TERMINATE".into()]);
    let assistant =
        Agent { tools: vec![Arc::new(length())], ..Agent::assistant("assistant", model) };
    let result = Chat::between(runs("user", Fake::default()), assistant).run("hi").await.unwrap();
    assert_eq!(result.history[2].tool_results[0].content, "4");
}
