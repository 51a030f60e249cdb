//! The view of each agent on a group, and cleared history.

use std::sync::Arc;

use cellblock_agents::scripted::ScriptedModel;
use cellblock_agents::{
    Agent, Chat, HumanInputMode, Message, ModelMessage, Opening, ScriptedHuman, Speakers,
};

use super::*;
use crate::cast::{names, says, script, texts};

#[tokio::test]
async fn introductions_are_for_models_and_not_in_the_history() {
    let (b, c) = (script(["yes"]), script(["no"]));
    let agents =
        vec![says("a", ""), Agent::assistant("b", b.clone()), Agent::assistant("c", c.clone())];
    let result =
        Chat { max_turns: Some(3), ..Chat::joint(agents.clone()) }.run("hi").await.unwrap();
    assert_eq!(names(&result), ["a", "b", "c"]);
    for model in [&b, &c] {
        let ModelMessage::User { content, .. } = &model.requests()[0].messages[0] else { panic!() };
        assert!(
            content.text().starts_with("These take part in the conversation:\na\nb: "),
            "{}",
            content.text()
        );
    }
    // Control: no introductions by default.
    let again = script(["yes", "no"]);
    let agents = vec![says("a", ""), Agent::assistant("b", again.clone()), says("c", "")];
    Chat { max_turns: Some(2), speakers: Speakers::RoundRobin, ..Chat::group(agents) }
        .run("hi")
        .await
        .unwrap();
    let ModelMessage::User { content, .. } = &again.requests()[0].messages[0] else { panic!() };
    assert_eq!(content.text(), "hi");
}

/// Each agent sees its own messages as the assistant's, and the others' with their names.
#[tokio::test]
async fn each_agent_has_its_own_view() {
    let (b, c) = (script(["from b", "again b"]), script(["from c"]));
    let agents =
        vec![says("a", "from a"), Agent::assistant("b", b.clone()), Agent::assistant("c", c)];
    Chat { max_turns: Some(5), speakers: Speakers::RoundRobin, ..Chat::group(agents) }
        .run("hi")
        .await
        .unwrap();
    let seen: Vec<_> = b.requests()[1]
        .messages
        .iter()
        .map(|message| match message {
            ModelMessage::User { name, content } => {
                format!("{}: {}", name.as_deref().unwrap(), content.text())
            }
            ModelMessage::Assistant { content, .. } => format!("assistant: {}", content.text()),
            ModelMessage::Tool(_) => panic!(),
        })
        .collect();
    assert_eq!(seen, ["a: hi", "assistant: from b", "c: from c", "a: from a"]);
}

async fn seen_after(instruction: &str) -> Vec<usize> {
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let model = |name: &'static str| {
        let seen = seen.clone();
        let model = ScriptedModel::with(move |request| {
            seen.lock().unwrap().push((name, request.messages.len()));
            "hm"
        });
        Agent::assistant(name, Arc::new(model))
    };
    let human = Arc::new(ScriptedHuman::new([instruction, "exit"]));
    let user = Agent { human, human_input: HumanInputMode::Always, ..says("user", "") };
    let agents = vec![says("starter", "more"), model("b"), model("c"), user];
    let chat = Chat { max_turns: Some(7), speakers: Speakers::RoundRobin, ..Chat::group(agents) };
    let result = chat.run("hi").await.unwrap();
    assert_eq!(result.history.len(), 7, "the history keeps everything");
    seen.lock().unwrap().iter().skip(2).map(|(_, number)| *number).collect()
}

#[tokio::test]
async fn history_is_cleared_for_all_or_for_one() {
    // Before: hi, b, c. Then the instruction itself, the starter, and for c also b.
    assert_eq!(seen_after("please go on").await, [5, 6]);
    assert_eq!(seen_after("CLEAR HISTORY").await, [2, 3]);
    assert_eq!(seen_after("clear history b").await, [2, 6]);
    assert_eq!(seen_after("clear history c 1").await, [5, 4]);
    assert_eq!(seen_after("clear history 2 and go on").await, [4, 5]);
}

#[tokio::test]
async fn a_group_goes_on_from_messages() {
    let first = group(Speakers::RoundRobin, &["a", "b", "c"]).run("hi").await.unwrap();
    let chat =
        Chat { history: first.history.clone(), ..group(Speakers::RoundRobin, &["a", "b", "c"]) };
    let second = chat.run(Opening::Nothing).await.unwrap();
    assert_eq!(second.history[..6], first.history[..]);
    assert_eq!(names(&second)[6..], ["a", "b", "c", "a", "b", "c"]);
    // With an opening message, the first agent speaks.
    let third = chat.run("anew").await.unwrap();
    assert_eq!(
        (third.history[6].name.as_str(), texts(&third)[6].as_str(), third.history.len()),
        ("a", "anew", 12)
    );
}

/// The changes of an agent's hooks.
#[tokio::test]
async fn hooks_change_messages_on_their_way() {
    let model = script(["answer"]);
    let change = |from: &'static str, to: &'static str| -> cellblock_agents::ChangeMessage {
        Arc::new(move |message: Message| Message {
            content: message.text().replace(from, to).into(),
            ..message
        })
    };
    let hooks = cellblock_agents::Hooks {
        last_received: vec![change("secret", "***")],
        before_reply: vec![Arc::new(|messages: Vec<Message>| {
            messages.into_iter().rev().take(1).collect()
        })],
        before_send: vec![change("answer", "polite answer")],
    };
    let b = Agent { hooks, ..Agent::assistant("b", model.clone()) };
    let history = vec![Message::new("a", "old"), Message::new("b", "older")];
    let chat = Chat { history, max_turns: Some(1), ..Chat::between(says("a", ""), b) };
    let result = chat.run("my secret").await.unwrap();
    assert_eq!(texts(&result)[2..], ["my secret", "polite answer"]);
    let [ModelMessage::User { content, .. }] = &model.requests()[0].messages[..] else { panic!() };
    assert_eq!(content.text(), "my ***");
}
