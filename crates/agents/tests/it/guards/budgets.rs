//! Money, tokens and time.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use cellblock_agents::scripted::{ScriptedAnswer, ScriptedModel};
use cellblock_agents::{Agent, Budget, BudgetExhausted, Chat, StopReason, Summary};

use super::*;
use crate::{
    cast::{python, runs, texts, writes},
    fake::Fake,
};

#[tokio::test]
async fn money_is_spent_up_to_the_budget() {
    let budget = Budget { cost: Some(0.025), ..Budget::default() };
    let chat = Chat { budget, ..Chat::between(user(), talker()) };
    let result = chat.run("hi").await.unwrap();
    let StopReason::Budget(BudgetExhausted::Cost { limit, spent }) = result.stop else {
        panic!("{}", result.stop)
    };
    assert!(limit == 0.025 && (spent - 0.03).abs() < 1e-9, "{limit} {spent}");
    assert_eq!(result.stop.to_string(), "Budget: the budget of $0.025 is spent ($0.0300)");
    assert!(!result.stop.is_success());
    // Three answers, and all of them are kept.
    assert_eq!(result.history.iter().filter(|message| message.name == "assistant").count(), 3);
    // Control: without a budget the chat continues.
    let chat = Chat { max_turns: Some(20), ..Chat::between(user(), talker()) };
    assert_eq!(chat.run("hi").await.unwrap().history.len(), 40);
}

#[tokio::test]
async fn tokens_are_spent_up_to_the_budget() {
    let budget = Budget { tokens: Some(20), ..Budget::default() };
    let result = Chat { budget, ..Chat::between(user(), talker()) }.run("hi").await.unwrap();
    assert_eq!(result.stop, StopReason::Budget(BudgetExhausted::Tokens { limit: 20, spent: 20 }));
    assert_eq!(result.stop.to_string(), "Budget: the budget of 20 tokens is spent (20)");
}

#[tokio::test]
async fn a_budget_of_nothing_asks_no_model() {
    let model = Arc::new(ScriptedModel::with(|_| "more"));
    let budget = Budget { cost: Some(0.0), ..Budget::default() };
    let chat =
        Chat { budget, ..Chat::between(user(), Agent::assistant("assistant", model.clone())) };
    let result = chat.run("hi").await.unwrap();
    assert!(matches!(result.stop, StopReason::Budget(_)), "{}", result.stop);
    assert_eq!((texts(&result), model.calls()), (vec!["hi".to_owned()], 0));
    for wrong in [f64::NAN, -1.0, f64::INFINITY] {
        let budget = Budget { cost: Some(wrong), ..Budget::default() };
        assert!(
            Chat { budget, ..Chat::between(user(), talker()) }.run("hi").await.is_err(),
            "{wrong}"
        );
    }
}

#[tokio::test]
async fn the_budget_of_the_whole_holds_for_its_parts() {
    // A member of a team asks again and again; the director's budget ends it.
    let director = cellblock_agents::team::director(
        "director",
        crate::cast::script([ScriptedAnswer::call("ask_member", r#"{"task":"t"}"#)]),
        [Agent { name: "member".to_owned(), ..talker_that_calls() }],
    );
    let budget = Budget { tokens: Some(50), ..Budget::default() };
    let result = Chat { budget, ..Chat::between(user(), director) }.run("hi").await.unwrap();
    assert!(
        matches!(result.stop, StopReason::Budget(BudgetExhausted::Tokens { limit: 50, .. })),
        "{}",
        result.stop
    );
    assert_eq!(result.cost.excluding_cached.tokens(), 50);
}

/// An assistant that calls a tool forever.
fn talker_that_calls() -> Agent {
    let model = ScriptedModel::with(|_| ScriptedAnswer::call("nothing", "null")).usage(7, 3);
    let nothing = cellblock_agents::tool::function("nothing", "Nothing.", |(): ()| async {
        Ok::<_, String>(())
    });
    Agent { tools: vec![Arc::new(nothing)], ..Agent::assistant("assistant", Arc::new(model)) }
}

#[tokio::test]
async fn time_ends_a_model_call() {
    let budget = Budget { time: Some(Duration::from_millis(50)), ..Budget::default() };
    let chat = Chat { budget, ..Chat::between(user(), Agent::assistant("assistant", slow())) };
    let start = Instant::now();
    let result = chat.run("hi").await.unwrap();
    assert_eq!(result.stop, StopReason::Budget(BudgetExhausted::Time { limit: 0.05 }));
    assert_eq!(result.stop.to_string(), "Budget: the time limit of 0.05 s is reached");
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
    assert_eq!(texts(&result), ["hi"]);
}

#[tokio::test]
async fn time_ends_running_code() {
    let fake = Fake::default();
    let budget = Budget { time: Some(Duration::from_millis(700)), ..Budget::default() };
    let chat = Chat {
        budget,
        ..Chat::between(writes::<&str>("assistant", []), runs("user", fake.clone()))
    };
    let result = chat.run(python("wait")).await.unwrap();
    assert!(
        matches!(result.stop, StopReason::Budget(BudgetExhausted::Time { .. })),
        "{}",
        result.stop
    );
    assert_eq!((fake.ran().len(), fake.waiting(), fake.open_now()), (1, 0, 0));
}

#[tokio::test]
async fn time_ends_a_summary() {
    let budget = Budget { time: Some(Duration::from_secs(2)), ..Budget::default() };
    let summary = Summary::Reflection { prompt: None, model: Some(slow()) };
    let chat = Chat { budget, summary, max_turns: Some(1), ..Chat::between(user(), talker()) };
    let start = Instant::now();
    let result = chat.run("hi").await.unwrap();
    assert_eq!(
        (result.summary.as_str(), &result.stop),
        ("more", &StopReason::MaxTurns { turns: 1 })
    );
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
}

#[tokio::test]
async fn no_time_at_all() {
    let budget = Budget { time: Some(Duration::ZERO), ..Budget::default() };
    let result = Chat { budget, ..Chat::between(user(), talker()) }.run("hi").await.unwrap();
    assert!(
        matches!(result.stop, StopReason::Budget(BudgetExhausted::Time { .. })),
        "{}",
        result.stop
    );
    assert_eq!(texts(&result), ["hi"]);
}
