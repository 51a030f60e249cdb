//! Nested chats, chats in order, chats at once, and their summaries.

use std::{sync::Arc, time::Duration};

use cellblock_agents::{
    Agent, Chat, ChatResult, Content, Error, Message, ModelMessage, NestedChat, NestedChats,
    NestedMessage, Opening, StopReason, Summary, Trigger,
    sequence::{Sequence, Step, run_as_ready, run_in_order},
};

use crate::cast::{meets, says, script, texts, writes};

#[tokio::test]
async fn nested_chats_bring_along_what_came_before() {
    let with_message = |name: &str, reply: &str, message: NestedMessage| NestedChat {
        message,
        ..NestedChat::new(says(name, reply))
    };
    let second = script(["second result"]);
    let chats = vec![
        with_message("one", "first result", NestedMessage::Say(Content::from("look into it"))),
        NestedChat {
            message: NestedMessage::With(Arc::new(|messages: &[Message]| {
                format!("{} messages", messages.len()).into()
            })),
            ..NestedChat::new(Agent::assistant("two", second.clone()))
        },
    ];
    let agent = Agent {
        nested: vec![
            NestedChats {
                trigger: Trigger::From(vec!["somebody".to_owned()]),
                chats: vec![NestedChat::new(says("no", "no"))],
            },
            NestedChats {
                trigger: Trigger::When(Arc::new(|history| {
                    history.last().unwrap().text().contains("please")
                })),
                chats,
            },
        ],
        ..says("agent", "by itself")
    };
    let chat = Chat {
        max_turns: Some(2),
        ..Chat::between(crate::cast::recites("user", ["and now without"]), agent)
    };
    let (events, mut heard) = cellblock_agents::event::channel();
    let result = Chat { events: Some(events), ..chat }.run("please").await.unwrap();
    assert_eq!(texts(&result), ["please", "second result", "and now without", "by itself"]);
    let ModelMessage::User { content, .. } = &second.requests()[0].messages[0] else { panic!() };
    assert_eq!(content.text(), "1 messages\nContext: \nfirst result");
    let mut depths = Vec::new();
    while let Ok(event) = heard.try_recv() {
        if let cellblock_agents::Event::Message { depth, .. } = event {
            depths.push(depth);
        }
    }
    assert_eq!(depths, [0, 1, 1, 1, 1, 0, 0, 0]);
}

#[tokio::test]
async fn a_nested_chat_that_fails_ends_the_outer_one() {
    let nested = vec![NestedChats {
        trigger: Trigger::Any,
        chats: vec![NestedChat::new(writes::<&str>("inner", []))],
    }];
    let agent = Agent { nested, ..says("agent", "") };
    let result = Chat::between(says("user", ""), agent).run("hi").await.unwrap();
    let StopReason::Failed { message, .. } = &result.stop else { panic!("{}", result.stop) };
    assert!(
        message.contains("the chat of `agent` with `inner` failed: the model of `inner` failed"),
        "{message}"
    );
    assert_eq!(texts(&result), ["hi"]);
}

fn short(reply: &str) -> Chat {
    Chat { max_turns: Some(1), ..Chat::between(says("user", ""), says("worker", reply)) }
}

fn failing() -> Chat {
    Chat { max_turns: Some(1), ..Chat::between(says("user", ""), writes::<&str>("worker", [])) }
}

fn opening(result: &ChatResult) -> String {
    texts(result)[0].clone()
}

#[tokio::test]
async fn a_sequence_ends_where_a_chat_fails() {
    let steps = vec![
        Step::new(short("one"), "1"),
        Step::new(failing(), "2"),
        Step::new(short("three"), "3"),
    ];
    let results = run_in_order(steps).await.unwrap();
    assert_eq!(results.len(), 2);
    assert!(!results[1].stop.is_success());
    let wrong = Chat { agents: vec![], ..short("x") };
    assert!(run_in_order(vec![Step::new(wrong, "1")]).await.is_err());
    assert!(run_in_order(vec![]).await.unwrap().is_empty());
}

/// A chat that cannot start keeps all from starting: nothing has been said or spent then.
#[tokio::test]
async fn all_chats_are_looked_at_before_the_first() {
    let directory = tempfile::tempdir().unwrap();
    let there = directory.path().join("there");
    std::fs::write(&there, "").unwrap();
    let log = |path: &str| Chat { log: Some(directory.path().join(path)), ..short("x") };
    for (wrong, words) in [
        (
            vec![Step::new(Chat { agents: vec![], ..short("x") }, "2")],
            "chat 1: a chat needs at least two agents",
        ),
        (vec![Step::new(short("x"), Opening::Nothing)], "chat 1: a chat without a first message"),
        (vec![Step::new(log("there"), "2")], "the file exists"),
        (vec![Step::new(log("nowhere/log"), "2")], "the directory does not exist"),
        (
            vec![Step::new(log("new"), "2"), Step::new(log("new"), "3")],
            "chat 2: chat 1 is saved to",
        ),
    ] {
        for in_order in [true, false] {
            let model = script(["said"]);
            let first = Chat {
                max_turns: Some(1),
                ..Chat::between(says("user", ""), Agent::assistant("a", model.clone()))
            };
            let steps = std::iter::once(Step::new(first, "1")).chain(wrong.clone()).collect();
            let error = match in_order {
                true => run_in_order(steps).await.unwrap_err(),
                false => run_as_ready(steps).await.unwrap_err(),
            };
            let error = cellblock_exec::with_causes(&error);
            assert!(error.contains(words), "{error}");
            assert_eq!(model.calls(), 0);
        }
    }
}

/// A later error at the start of a chat is its result, and the other results are kept.
#[tokio::test]
async fn results_are_kept_when_a_later_chat_cannot_begin() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let steps = || {
        // The first chat creates the file to which the second one would be saved.
        let spoil = path.clone();
        let spoils = cellblock_agents::Reply::custom(move |_: &[Message]| {
            std::fs::write(&spoil, "").unwrap();
            Some("one".into())
        });
        let worker = Agent { replies: vec![spoils], ..says("worker", "") };
        let first = Chat { max_turns: Some(1), ..Chat::between(says("user", ""), worker) };
        let second = Chat { log: Some(path.clone()), ..short("two") };
        vec![
            Step::new(first, "1"),
            Step { after: vec![0], ..Step::new(second, "2") },
            Step::new(short("three"), "3"),
        ]
    };
    let results = run_in_order(steps()).await.unwrap();
    assert_eq!((results.len(), results[0].summary.as_str()), (2, "one"));
    let StopReason::Failed { message, causes, .. } = &results[1].stop else {
        panic!("{}", results[1].stop)
    };
    assert!(
        message.contains("cannot create the saved chat") && causes[0].contains("the file exists"),
        "{causes:?}"
    );
    std::fs::remove_file(&path).unwrap();
    let results = run_as_ready(steps()).await.unwrap();
    let summaries: Vec<_> =
        results.iter().map(|result| result.as_ref().unwrap().summary.as_str()).collect();
    assert_eq!(summaries, ["one", "", "three"]);
}

/// Chats that share a budget, cancellation and subscriber.
#[tokio::test]
async fn a_sequence_shares_what_it_may_spend() {
    let steps = || {
        let model =
            Arc::new(cellblock_agents::scripted::ScriptedModel::with(|_| "more").cost(0.01));
        let chat = Chat {
            max_turns: Some(2),
            ..Chat::between(says("user", "go on"), Agent::assistant("a", model))
        };
        (0..3).map(|number: u32| Step::new(chat.clone(), number.to_string())).collect::<Vec<_>>()
    };
    let budget = |cost| cellblock_agents::Budget { cost: Some(cost), ..Default::default() };
    // Two cents each: the budget ends the second chat, and the third one does not start.
    let results =
        Sequence { budget: budget(0.03), ..Sequence::new(steps()) }.run_in_order().await.unwrap();
    let spent: f64 = results.iter().map(|result| result.cost.excluding_cached.total_cost).sum();
    assert_eq!((results.len(), (spent * 100.0).round()), (2, 3.0));
    let StopReason::Budget(cellblock_agents::BudgetExhausted::Cost { limit, .. }) = results[1].stop
    else {
        panic!()
    };
    assert!((limit - 0.03).abs() < 1e-9, "{limit}");
    let results =
        Sequence { budget: budget(0.03), ..Sequence::new(steps()) }.run_as_ready().await.unwrap();
    let spent: f64 =
        results.iter().flatten().map(|result| result.cost.excluding_cached.total_cost).sum();
    assert!(spent < 0.059, "{spent}");
    // Control: the same budget for each of them is enough.
    assert_eq!(
        Sequence { budget: budget(0.2), ..Sequence::new(steps()) }
            .run_in_order()
            .await
            .unwrap()
            .len(),
        3
    );
    let own = steps()
        .into_iter()
        .map(|step| Step { chat: Chat { budget: budget(0.03), ..step.chat }, ..step });
    assert_eq!(run_in_order(own.collect()).await.unwrap().len(), 3);
    assert!(
        Sequence { budget: budget(-1.0), ..Sequence::new(steps()) }.run_in_order().await.is_err()
    );

    let (events, mut heard) = cellblock_agents::event::channel();
    Sequence { events: Some(events), ..Sequence::new(steps()) }.run_in_order().await.unwrap();
    let mut begun = Vec::new();
    while let Ok(event) = heard.try_recv() {
        match event {
            cellblock_agents::Event::ChatStarted { parent, .. } => begun.push(parent),
            cellblock_agents::Event::Message { depth, .. } => assert_eq!(depth, 0),
            _ => {}
        }
    }
    // They are not within each other or another chat.
    assert_eq!(begun, [None, None, None]);

    let sequence = Sequence::new(steps());
    sequence.cancel.cancel();
    let results = sequence.run_in_order().await.unwrap();
    assert_eq!((results.len(), &results[0].stop), (1, &StopReason::Cancelled));
}

#[tokio::test]
async fn a_chat_keeps_its_own_carryover() {
    let second = Chat { carryover: vec!["known".to_owned()], ..short("two") };
    let results =
        run_in_order(vec![Step::new(short("one"), "1"), Step::new(second, "2")]).await.unwrap();
    assert_eq!(opening(&results[1]), "2\nContext: \nknown\none");
    let summary =
        Summary::Custom(Arc::new(|messages: &[Message]| format!("{} said", messages.len())));
    let first = Chat { summary, ..short("one") };
    let makes = Opening::With(Arc::new(|_: &[Message], carried: &[String]| {
        format!("made of {carried:?}").into()
    }));
    let results =
        run_in_order(vec![Step::new(first, "1"), Step::new(short("two"), makes)]).await.unwrap();
    assert_eq!(opening(&results[1]), "made of [\"2 said\"]");
}

#[tokio::test]
async fn chats_run_as_soon_as_they_are_ready() {
    // 0 and 1 at once (each waits for the other's first message), 2 after both, 3 after 1.
    let meet = Arc::new(tokio::sync::Barrier::new(2));
    let meeting = || {
        let worker = meets("worker", &meet);
        Chat { max_turns: Some(1), ..Chat::between(says("user", ""), worker) }
    };
    let after = |chat: Chat, text: &str, after: &[usize]| Step {
        after: after.to_vec(),
        ..Step::new(chat, text)
    };
    let steps = vec![
        after(short("two"), "2", &[1, 2]),
        after(meeting(), "0", &[]),
        after(meeting(), "1", &[]),
        after(short("three"), "3", &[0]),
    ];
    let run = tokio::time::timeout(Duration::from_secs(30), run_as_ready(steps));
    let results: Vec<_> = run.await.unwrap().unwrap().into_iter().map(Option::unwrap).collect();
    let openings: Vec<_> = results.iter().map(opening).collect();
    assert_eq!(openings, ["2\nContext: \nmet for 0\nmet for 1", "0", "1", "3\nContext: \ntwo"]);
}

#[tokio::test]
async fn prerequisites_that_never_come() {
    let after = |text: &str, after: &[usize]| Step {
        after: after.to_vec(),
        ..Step::new(short(text), text)
    };
    for (steps, words) in [
        (vec![after("0", &[1]), after("1", &[0])], "wait"),
        (vec![after("0", &[0])], "wait"),
        (vec![after("0", &[]), after("1", &[2]), after("2", &[1])], "chat 1"),
        (vec![after("0", &[7])], "chat 7"),
    ] {
        let error = run_as_ready(steps).await.unwrap_err();
        assert!(matches!(error, Error::Invalid(_)) && error.to_string().contains(words), "{error}");
    }
    // A failed chat only stops those that need it.
    let steps = vec![
        Step::new(failing(), "0"),
        after("needs it", &[0]),
        after("does not", &[]),
        after("needs what needs it", &[1, 2]),
    ];
    let results = run_as_ready(steps).await.unwrap();
    let there: Vec<_> = results.iter().map(Option::is_some).collect();
    assert_eq!(there, [true, false, true, false]);
}

#[tokio::test]
async fn summaries_by_a_model_by_a_function_or_none() {
    let model = script(["what it came to"]);
    let with = |summary| Chat { summary, ..short("the last word") };
    let reflection = |prompt: Option<&str>| Summary::Reflection {
        prompt: prompt.map(str::to_owned),
        model: Some(model.clone()),
    };
    assert_eq!(
        with(reflection(Some("Shortly?"))).run("hi").await.unwrap().summary,
        "what it came to"
    );
    let request = &model.requests()[0];
    let ModelMessage::User { content, .. } = request.messages.last().unwrap() else { panic!() };
    assert_eq!((&*content.text(), request.messages.len()), ("Shortly?", 3));
    // A model that fails, or none: the summary is the last message, and a notice says so.
    let (events, mut heard) = cellblock_agents::event::channel();
    let chat = Chat { events: Some(events), ..with(reflection(None)) };
    let result = chat.run("hi").await.unwrap();
    assert_eq!((result.summary.as_str(), result.stop.is_success()), ("the last word", true));
    let mut notices = Vec::new();
    while let Ok(event) = heard.try_recv() {
        if let cellblock_agents::Event::Notice { text, .. } = event {
            notices.push(text);
        }
    }
    assert!(notices[0].contains("could not be summarized"), "{notices:?}");
    assert_eq!(
        with(Summary::Reflection { prompt: None, model: None }).run("hi").await.unwrap().summary,
        "the last word"
    );
    assert_eq!(with(Summary::Nothing).run("hi").await.unwrap().summary, "");
}
