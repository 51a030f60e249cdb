//! Cases 33 to 36: group chats.

use std::{collections::BTreeMap, sync::Arc};

use cellblock_agents::{
    AutoSelection, Chat, Error, Message, Opening, Speakers, StopReason, Transitions,
};

use crate::cast::{names, says, script};

/// A group of agents that say their own names.
fn group<const N: usize>(agents: [&str; N]) -> Chat {
    Chat::group(agents.iter().map(|name| says(name, &format!("I am {name}"))).collect())
}

/// The second speaker if a model gives this answer to the selection.
async fn chosen(agents: [&str; 4], answer: &str) -> String {
    let selection =
        AutoSelection { model: Some(script([answer])), retries: 0, ..AutoSelection::default() };
    let chat = Chat { speakers: Speakers::Auto(selection), max_turns: Some(2), ..group(agents) };
    chat.run("hi").await.unwrap().history[1].name.clone()
}

/// The counts themselves are asserted in `run::select`.
#[tokio::test]
async fn case_33_names_are_words() {
    // `next` would speak if the answer named nobody or several.
    let agents = ["start", "next", "sam", "alice"];
    assert_eq!(chosen(agents, "sam samantha basam asami").await, "sam");
    assert_eq!(chosen(agents, "samantha basam asami").await, "next");
    assert_eq!(chosen(agents, "alice! .alice. .alice").await, "alice");
    assert_eq!(chosen(agents, "Sam").await, "next");
    assert_eq!(chosen(agents, "sam, or alice").await, "next");
    let agents = ["start", "next", "Story_writer", "Editor"];
    for answer in ["Story_writer", "Story writer", r"**Story\_writer**"] {
        assert_eq!(chosen(agents, answer).await, "Story_writer", "{answer}");
    }
    assert_eq!(chosen(agents, "Story-writer").await, "next");
}

#[tokio::test]
async fn case_34_transitions_end_where_nobody_may_follow() {
    let may = |from: &str, to: &str| (from.to_owned(), vec![to.to_owned()]);
    let transitions = Transitions::Allowed(BTreeMap::from([may("a1", "a2"), may("a2", "a3")]));
    let chat = Chat {
        transitions,
        max_turns: Some(10),
        speakers: Speakers::RoundRobin,
        ..group(["a1", "a2", "a3"])
    };
    let result = chat.run("hi").await.unwrap();
    assert_eq!(names(&result), ["a1", "a2", "a3"]);
    assert_eq!(result.stop, StopReason::NoSpeaker);
}

#[tokio::test]
async fn case_35_nobody_chosen_and_no_such_way() {
    let choose = |messages: &[Message], _: &[&str]| (messages.len() < 2).then(|| "b".to_owned());
    let chat = Chat { speakers: Speakers::Custom(Arc::new(choose)), ..group(["a", "b"]) };
    let result = chat.run("hi").await.unwrap();
    assert_eq!(names(&result), ["a", "b"]);
    assert_eq!(result.stop, StopReason::NoSpeaker);
    assert!(result.stop.is_success());
    let error = "by_size".parse::<Speakers>().unwrap_err();
    assert!(
        error.to_string().contains("by_size") && error.to_string().contains("round_robin"),
        "{error}"
    );
    for name in ["auto", "random", "round_robin"] {
        name.parse::<Speakers>().unwrap();
    }
}

#[tokio::test]
async fn case_36_going_on_from_messages() {
    let chat =
        Chat { speakers: Speakers::RoundRobin, max_turns: Some(2), ..group(["a", "b", "c"]) };
    let with = |history: Vec<Message>| Chat { history, ..chat.clone() };
    let error = with(vec![Message::new("nobody", "hi")]).run(Opening::Nothing).await.unwrap_err();
    assert!(
        matches!(error, Error::Invalid(_)) && error.to_string().contains("`nobody`"),
        "{error}"
    );
    let error = with(Vec::new()).run(Opening::Nothing).await.unwrap_err();
    assert!(matches!(error, Error::Invalid(_)) && error.to_string().contains("history"), "{error}");
    // Control: messages of its own agents are continued.
    let result = with(vec![Message::new("a", "hi"), Message::new("b", "ho")])
        .run(Opening::Nothing)
        .await
        .unwrap();
    assert_eq!(names(&result), ["a", "b", "c", "a"]);
}
