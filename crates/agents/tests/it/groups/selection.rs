//! Speaker selection.

use std::{collections::BTreeMap, sync::Arc};

use cellblock_agents::scripted::ScriptedModel;
use cellblock_agents::{
    Agent, AutoSelection, Chat, Error, Message, ModelMessage, ScriptedHuman, Speakers, StopReason,
    Transitions,
};

use super::*;
use crate::cast::{names, script};

async fn order(chat: &Chat) -> Vec<String> {
    names(&chat.run("hi").await.unwrap()).into_iter().map(str::to_owned).collect()
}

#[tokio::test]
async fn all_speak_in_turn() {
    assert_eq!(
        order(&group(Speakers::RoundRobin, &["a", "b", "c"])).await,
        ["a", "b", "c", "a", "b", "c"]
    );
}

#[tokio::test]
async fn chance_with_a_seed_is_the_same_again() {
    let seeded = |seed| Chat {
        max_turns: Some(40),
        ..group(Speakers::Random { seed: Some(seed) }, &["a", "b", "c"])
    };
    let once = order(&seeded(7)).await;
    assert_eq!(once, order(&seeded(7)).await);
    assert_ne!(once, order(&seeded(8)).await);
    for name in ["a", "b", "c"] {
        assert!(once.iter().any(|spoke| spoke == name), "{once:?}");
    }
}

#[tokio::test]
async fn a_person_chooses() {
    let person =
        |names: &[&str]| Speakers::Manual(Arc::new(ScriptedHuman::new(names.iter().copied())));
    let chosen = order(&group(person(&["c", "c", "", "a"]), &["a", "b", "c"])).await;
    // Without a choice, the next agent in turn speaks.
    assert_eq!(chosen, ["a", "c", "c", "a", "a", "b"]);
    let result = group(person(&["nobody"]), &["a", "b", "c"]).run("hi").await.unwrap();
    assert!(
        matches!(&result.stop, StopReason::Failed { message, .. } if message.contains("`nobody`")),
        "{}",
        result.stop
    );
    assert_eq!(result.history.len(), 1);
}

#[tokio::test]
async fn a_function_chooses() {
    let choose = |messages: &[Message], names: &[&str]| {
        assert_eq!(names.len(), 3);
        Some(if messages.len() % 2 == 1 { "c" } else { "b" }.to_owned())
    };
    let chat = group(Speakers::Custom(Arc::new(choose)), &["a", "b", "c"]);
    assert_eq!(order(&chat).await, ["a", "c", "b", "c", "b", "c"]);
}

#[tokio::test]
async fn a_model_chooses_and_is_told_who_there_is() {
    let model = script(["c", "b"]);
    let selection = AutoSelection { model: Some(model.clone()), ..AutoSelection::default() };
    let mut chat =
        Chat { max_turns: Some(3), ..group(Speakers::Auto(selection), &["a", "b", "c"]) };
    chat.agents[1].description = "Knows the law.".to_owned();
    assert_eq!(order(&chat).await, ["a", "c", "b"]);
    let request = &model.requests()[1];
    assert!(
        request.system.contains("b: Knows the law.") && request.system.contains("\nc"),
        "{}",
        request.system
    );
    let said: Vec<_> = request
        .messages
        .iter()
        .map(|message| match message {
            ModelMessage::User { name, content } => {
                (name.as_deref().unwrap_or(""), content.text().into_owned())
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!((said[0].0, said[1].0), ("a", "c"));
    assert!(said[2].1.contains("b, c, a") || said[2].1.contains("a, b, c"), "{said:?}");
}

/// Without a model of its own, the group asks an agent's; without any, all speak in turn.
#[tokio::test]
async fn whose_model_chooses() {
    let model = Arc::new(ScriptedModel::with(|request| {
        if request.system.contains("should speak next") { "b" } else { "I am b" }
    }));
    let mut chat = Chat {
        max_turns: Some(3),
        ..group(Speakers::Auto(AutoSelection::default()), &["a", "b", "c"])
    };
    assert_eq!(order(&chat).await, ["a", "b", "c"]);
    chat.agents[1] = Agent::assistant("b", model.clone());
    assert_eq!(order(&chat).await, ["a", "b", "b"]);
    assert_eq!(model.calls(), 4);
}

#[tokio::test]
async fn one_who_may_speak_is_not_chosen_by_a_model() {
    let model = script::<&str>([]);
    let selection = AutoSelection { model: Some(model.clone()), ..AutoSelection::default() };
    let only = |from: &str, to: &[&str]| {
        (from.to_owned(), to.iter().map(|name| (*name).to_owned()).collect())
    };
    let allowed = BTreeMap::from([only("a", &["b"]), only("b", &["c"]), only("c", &["a"])]);
    let chat = Chat {
        transitions: Transitions::Allowed(allowed),
        ..group(Speakers::Auto(selection), &["a", "b", "c"])
    };
    assert_eq!(order(&chat).await, ["a", "b", "c", "a", "b", "c"]);
    assert_eq!(model.calls(), 0);
}

#[tokio::test]
async fn forbidden_transitions_and_repetition() {
    let never = |from: &str, to: &[&str]| {
        (from.to_owned(), to.iter().map(|name| (*name).to_owned()).collect())
    };
    let forbidden =
        Transitions::Forbidden(BTreeMap::from([never("a", &["b"]), never("c", &["a"])]));
    let chat = Chat { transitions: forbidden, ..group(Speakers::RoundRobin, &["a", "b", "c"]) };
    assert_eq!(order(&chat).await, ["a", "c", "b", "c", "b", "c"]);
    let random = Chat {
        max_turns: Some(60),
        allow_repeat: false,
        ..group(Speakers::Random { seed: Some(1) }, &["a", "b", "c"])
    };
    let spoke = order(&random).await;
    assert!(spoke.windows(2).all(|pair| pair[0] != pair[1]), "{spoke:?}");
    let spoke = order(&Chat { allow_repeat: true, ..random }).await;
    assert!(spoke.windows(2).any(|pair| pair[0] == pair[1]), "{spoke:?}");
    let unknown = Transitions::Allowed(BTreeMap::from([never("a", &["z"])]));
    let error = Chat { transitions: unknown, ..group(Speakers::RoundRobin, &["a", "b"]) }
        .run("hi")
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Invalid(_)) && error.to_string().contains("`z`"), "{error}");
}

#[tokio::test]
async fn a_rule_of_the_group_ends_it() {
    let rule = |history: &[Message]| history.last().unwrap().text().contains("I am b");
    let chat = Chat {
        is_termination: Some(Arc::new(rule)),
        ..group(Speakers::RoundRobin, &["a", "b", "c"])
    };
    let result = chat.run("hi").await.unwrap();
    assert_eq!(
        (result.history.len(), &result.stop),
        (2, &StopReason::Termination { agent: "chat_manager".to_owned() })
    );
}

/// The first message is the task, which may say how the last one is to end.
#[tokio::test]
async fn the_first_message_ends_no_group() {
    let directory = tempfile::tempdir().unwrap();
    let log = Some(directory.path().join("chat.jsonl"));
    let rule: cellblock_agents::Predicate = Arc::new(cellblock_agents::is_done);
    let task = "Count to two. When it is done, say TERMINATE.";
    let group = |log| Chat {
        log,
        is_termination: Some(rule.clone()),
        ..group(Speakers::RoundRobin, &["a", "b", "c"])
    };
    let counts = |chat: Chat| {
        let b = crate::cast::recites("b", ["Two. TERMINATE"]);
        Chat { agents: vec![chat.agents[0].clone(), b, chat.agents[2].clone()], ..chat }
    };
    let result = counts(group(log.clone())).run(task).await.unwrap();
    assert_eq!((names(&result), result.stop.kind()), (vec!["a", "b"], "termination"));
    // Nor if it is the only message of a resumed chat.
    let path = log.clone().unwrap();
    let saved = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = saved.split_inclusive('\n').collect();
    std::fs::write(&path, lines[..2].concat()).unwrap();
    assert_eq!(names(&counts(group(log)).resume().await.unwrap()), ["a", "b"]);
    // Control: without an opening message, the last message from before is not the first one.
    let before = Chat { history: vec![Message::new("a", "It is done. TERMINATE")], ..group(None) };
    assert_eq!(names(&before.run(cellblock_agents::Opening::Nothing).await.unwrap()), ["a"]);
}
