//! What stops a chat: budgets, loops, cancellation; and how it is said.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use cellblock_agents::{
    Agent, Budget, Chat, CodeExecution, HumanInputMode, ModelError, Spent, StopReason, Summary, event::Event, tool,
};
use cellblock_exec::CancellationToken;
use cellblock_local::{LocalExecutor, Options};
use cellblock_models::{Answer, Scripted};

use crate::{
    cast::{python, recites, runs, says, texts, writes},
    fake::Fake,
};

/// An assistant that answers for ever, one cent and ten tokens a time.
fn talker() -> Agent {
    let model = Scripted::with(|_| "more").named("talker").cost(0.01).usage(7, 3);
    Agent::assistant("assistant", Arc::new(model))
}

/// A model that takes far longer than any test.
fn slow() -> Arc<Scripted> {
    Arc::new(Scripted::with(|_| "late").delay(Duration::from_secs(600)))
}

fn user() -> Agent {
    says("user", "go on")
}

#[tokio::test]
async fn money_is_spent_up_to_the_budget() {
    let budget = Budget { cost: Some(0.025), ..Budget::default() };
    let chat = Chat { budget, ..Chat::between(user(), talker()) };
    let result = chat.run("hi").await.unwrap();
    let StopReason::Budget(Spent::Cost { limit, spent }) = result.stop else { panic!("{}", result.stop) };
    assert!(limit == 0.025 && (spent - 0.03).abs() < 1e-9, "{limit} {spent}");
    assert_eq!(result.stop.to_string(), "Budget: the budget of $0.025 is spent ($0.0300)");
    assert!(!result.stop.is_success());
    // Three answers, and all of them kept.
    assert_eq!(result.history.iter().filter(|message| message.name == "assistant").count(), 3);
    // Control: without a budget it goes on.
    let chat = Chat { max_turns: Some(20), ..Chat::between(user(), talker()) };
    assert_eq!(chat.run("hi").await.unwrap().history.len(), 40);
}

#[tokio::test]
async fn tokens_are_spent_up_to_the_budget() {
    let budget = Budget { tokens: Some(20), ..Budget::default() };
    let result = Chat { budget, ..Chat::between(user(), talker()) }.run("hi").await.unwrap();
    assert_eq!(result.stop, StopReason::Budget(Spent::Tokens { limit: 20, spent: 20 }));
    assert_eq!(result.stop.to_string(), "Budget: the budget of 20 tokens is spent (20)");
}

#[tokio::test]
async fn a_budget_of_nothing_asks_no_model() {
    let model = Arc::new(Scripted::with(|_| "more"));
    let budget = Budget { cost: Some(0.0), ..Budget::default() };
    let chat = Chat { budget, ..Chat::between(user(), Agent::assistant("assistant", model.clone())) };
    let result = chat.run("hi").await.unwrap();
    assert!(matches!(result.stop, StopReason::Budget(_)), "{}", result.stop);
    assert_eq!((texts(&result), model.calls()), (vec!["hi".to_owned()], 0));
    for wrong in [f64::NAN, -1.0, f64::INFINITY] {
        let budget = Budget { cost: Some(wrong), ..Budget::default() };
        assert!(Chat { budget, ..Chat::between(user(), talker()) }.run("hi").await.is_err(), "{wrong}");
    }
}

#[tokio::test]
async fn the_budget_of_the_whole_holds_for_its_parts() {
    // A member of a team asks for more and more; the director's budget ends it.
    let director =
        cellblock_agents::team::director("director", crate::cast::script([Answer::call("ask_member", r#"{"task":"t"}"#)]), [
            Agent { name: "member".to_owned(), ..talker_that_calls() },
        ]);
    let budget = Budget { tokens: Some(50), ..Budget::default() };
    let result = Chat { budget, ..Chat::between(user(), director) }.run("hi").await.unwrap();
    assert!(matches!(result.stop, StopReason::Budget(Spent::Tokens { limit: 50, .. })), "{}", result.stop);
    assert_eq!(result.cost.excluding_cached.tokens(), 50);
}

/// An assistant that calls a tool for ever.
fn talker_that_calls() -> Agent {
    let model = Scripted::with(|_| Answer::call("nothing", "{}")).usage(7, 3);
    Agent::assistant("assistant", Arc::new(model))
}

#[tokio::test]
async fn time_ends_a_model_call() {
    let budget = Budget { time: Some(Duration::from_millis(50)), ..Budget::default() };
    let chat = Chat { budget, ..Chat::between(user(), Agent::assistant("assistant", slow())) };
    let start = Instant::now();
    let result = chat.run("hi").await.unwrap();
    assert_eq!(result.stop, StopReason::Budget(Spent::Time { limit: 0.05 }));
    assert_eq!(result.stop.to_string(), "Budget: the time of 0.05 s is over");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!(texts(&result), ["hi"]);
}

#[tokio::test]
async fn time_ends_running_code() {
    let fake = Fake::default();
    let budget = Budget { time: Some(Duration::from_millis(50)), ..Budget::default() };
    let chat = Chat { budget, ..Chat::between(writes::<&str>("assistant", []), runs("user", fake.clone())) };
    let result = chat.run(python("wait")).await.unwrap();
    assert!(matches!(result.stop, StopReason::Budget(Spent::Time { .. })), "{}", result.stop);
    assert_eq!((fake.ran().len(), fake.waiting(), fake.open_now()), (1, 0, 0));
}

#[tokio::test]
async fn time_ends_a_summary() {
    let budget = Budget { time: Some(Duration::from_millis(200)), ..Budget::default() };
    let summary = Summary::Reflection { prompt: None, model: Some(slow()) };
    let chat = Chat { budget, summary, max_turns: Some(1), ..Chat::between(user(), talker()) };
    let start = Instant::now();
    let result = chat.run("hi").await.unwrap();
    assert_eq!((result.summary.as_str(), &result.stop), ("more", &StopReason::MaxTurns { turns: 1 }));
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[tokio::test]
async fn no_time_at_all() {
    let budget = Budget { time: Some(Duration::ZERO), ..Budget::default() };
    let result = Chat { budget, ..Chat::between(user(), talker()) }.run("hi").await.unwrap();
    assert!(matches!(result.stop, StopReason::Budget(Spent::Time { .. })), "{}", result.stop);
    assert_eq!(texts(&result), ["hi"]);
}

#[tokio::test]
async fn the_same_failure_again_and_again() {
    let fake = Fake::default();
    let broken = python("print broken\nexit 1");
    let assistant = Agent::assistant("assistant", Arc::new(Scripted::with(move |_| broken.clone())));
    let chat = |most| Chat {
        max_same_failures: most,
        max_turns: Some(10),
        ..Chat::between(runs("user", fake.clone()), assistant.clone())
    };
    let result = chat(Some(3)).run("hi").await.unwrap();
    assert_eq!(result.stop, StopReason::SameFailure { times: 3 });
    assert_eq!(result.stop.to_string(), "The code failed in the same way 3 times in a row");
    assert_eq!((fake.ran().len(), result.history.len()), (3, 7));
    // Control: not without the guard, and not if the failures differ.
    assert_eq!(chat(None).run("hi").await.unwrap().stop, StopReason::MaxTurns { turns: 10 });
    let lines = ["exit 1", "exit 2", "exit 1", "print ok", "exit 1"].map(|code| python(code));
    let assistant = recites("assistant", lines.each_ref().map(String::as_str));
    let chat = Chat { max_turns: Some(6), ..Chat::between(runs("user", fake.clone()), assistant) };
    assert_eq!(chat.run("hi").await.unwrap().stop, StopReason::MaxTurns { turns: 6 });
}

#[tokio::test]
async fn one_agent_that_says_nothing_is_enough() {
    let chat = Chat { max_turns: Some(50), ..Chat::between(says("a", "talk"), says("b", "")) };
    let result = chat.run("hi").await.unwrap();
    assert_eq!(result.stop.to_string(), "'b' said nothing 3 times in a row");
    assert_eq!(result.history.len(), 6);
    // Control: now and then is no loop.
    let b = recites("b", ["", "", "word", "", ""]);
    let chat = Chat { max_turns: Some(5), ..Chat::between(says("a", "talk"), b) };
    assert_eq!(chat.run("hi").await.unwrap().stop, StopReason::MaxTurns { turns: 5 });
}

/// How long a chat takes to end after it is cancelled: within 100 ms on an idle machine; tests that run beside others allow
/// for more.
async fn cancelled_within(chat: Chat, opening: &str, began: impl Fn() -> bool) -> (cellblock_agents::ChatResult, Duration) {
    let cancel = CancellationToken::new();
    let chat = Chat { cancel: cancel.clone(), ..chat };
    let opening = opening.to_owned();
    let running = tokio::spawn(async move { chat.run(opening).await.unwrap() });
    while !began() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let start = Instant::now();
    cancel.cancel();
    let result = running.await.unwrap();
    let took = start.elapsed();
    println!("ended {took:?} after it was cancelled");
    assert_eq!(result.stop, StopReason::Cancelled);
    assert!(took < Duration::from_secs(2), "{took:?}");
    (result, took)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_ends_a_model_call() {
    let model = slow();
    let chat = Chat::between(user(), Agent::assistant("assistant", model.clone()));
    let (result, _) = cancelled_within(chat, "hi", || model.calls() > 0).await;
    assert_eq!(texts(&result), ["hi"]);
    assert_eq!(result.stop.to_string(), "Cancelled");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_ends_running_code() {
    let fake = Fake::default();
    let chat = Chat::between(writes::<&str>("assistant", []), runs("user", fake.clone()));
    cancelled_within(chat, &python("wait"), || fake.waiting() > 0).await;
    assert_eq!((fake.waiting(), fake.open_now()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_ends_code_of_this_machine() {
    let executor = Arc::new(LocalExecutor::start(Options::default()).await.unwrap());
    let user = Agent {
        code: Some(CodeExecution::new(executor)),
        human_input: HumanInputMode::Never,
        ..Agent::new("user")
    };
    let (events, mut heard) = cellblock_agents::event::channel();
    let began = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let chat = Chat { events: Some(events), ..Chat::between(writes::<&str>("assistant", []), user) };
    let seen = began.clone();
    tokio::spawn(async move {
        while let Some(event) = heard.recv().await {
            if matches!(event, Event::BlockOutput { .. }) {
                seen.store(true, std::sync::atomic::Ordering::SeqCst);
            }
        }
    });
    let code = python("print('begun', flush=True)\nwhile True: pass");
    cancelled_within(chat, &code, || began.load(std::sync::atomic::Ordering::SeqCst)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_ends_a_tool_and_a_nested_chat() {
    let began = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = began.clone();
    let wait = tool::function("wait", "Waits.", move |(): ()| {
        count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        std::future::pending::<Result<(), String>>()
    });
    let member = Agent { tools: vec![Arc::new(wait)], ..writes("member", [Answer::call("wait", "null")]) };
    let model = crate::cast::script([Answer::call("ask_member", r#"{"task":"wait"}"#)]);
    let chat = Chat::between(user(), cellblock_agents::team::director("director", model, [member]));
    cancelled_within(chat, "hi", || began.load(std::sync::atomic::Ordering::SeqCst) > 0).await;
}

#[tokio::test]
async fn a_chat_that_never_waits_can_be_cancelled_on_its_own_thread() {
    let cancel = CancellationToken::new();
    let endless = |name: &str| Agent { max_consecutive_auto_replies: u32::MAX, ..says(name, "x") };
    let chat = Chat { cancel: cancel.clone(), max_turns: Some(20_000_000), ..Chat::between(endless("a"), endless("b")) };
    let running = tokio::spawn(async move { chat.run("hi").await.unwrap() });
    tokio::time::sleep(Duration::from_millis(20)).await;
    cancel.cancel();
    let result = running.await.unwrap();
    assert_eq!(result.stop, StopReason::Cancelled);
    assert!(result.history.len() > 1);
}

#[tokio::test]
async fn a_chat_cancelled_before_it_begins() {
    let cancel = CancellationToken::new();
    cancel.cancel();
    let model = Arc::new(Scripted::with(|_| "x"));
    let chat = Chat { cancel, ..Chat::between(user(), Agent::assistant("assistant", model.clone())) };
    let result = chat.run("hi").await.unwrap();
    assert_eq!((result.stop, model.calls()), (StopReason::Cancelled, 0));
}

#[tokio::test]
async fn a_failed_model_ends_the_chat_and_keeps_it() {
    let interrupted =
        || ModelError::Interrupted { provider: "p".to_owned(), received: "half an ans".to_owned(), source: None };
    let answers: Vec<Answer> = vec!["first".into(), interrupted().into()];
    let chat = Chat::between(user(), writes("assistant", answers));
    let result = chat.run("hi").await.unwrap();
    assert_eq!(texts(&result), ["hi", "first", "go on"]);
    let StopReason::Failed { message, causes, partial } = &result.stop else { panic!("{}", result.stop) };
    assert_eq!(message, "the model of assistant failed");
    assert_eq!(causes[0], "the answer of p broke off after 11 characters");
    assert_eq!(partial.as_deref(), Some("half an ans"));
    assert_eq!(
        result.stop.to_string(),
        "the model of assistant failed: the answer of p broke off after 11 characters"
    );
}

#[test]
fn reasons_read_as_in_the_transcript() {
    let agent = || "user".to_owned();
    for (reason, text) in [
        (StopReason::MaxTurns { turns: 2 }, "Maximum turns (2) reached"),
        (StopReason::Termination { agent: agent() }, "Termination message condition on agent 'user' met"),
        (
            StopReason::MaxAutoReplies { agent: agent() },
            "Maximum number of consecutive auto-replies of 'user' reached",
        ),
        (StopReason::Human { agent: agent() }, "User requested to end the conversation"),
        (StopReason::NoReply { agent: agent() }, "No reply of 'user'"),
        (StopReason::NoSpeaker, "No next speaker"),
    ] {
        assert_eq!(reason.to_string(), text);
        assert!(reason.is_success());
        let json = serde_json::to_string(&reason).unwrap();
        assert_eq!(serde_json::from_str::<StopReason>(&json).unwrap(), reason, "{json}");
    }
}

#[tokio::test]
async fn a_result_is_json_and_back() {
    let budget = Budget { cost: Some(0.01), ..Budget::default() };
    let result = Chat { budget, ..Chat::between(user(), talker()) }.run("hi").await.unwrap();
    let json = serde_json::to_value(&result).unwrap();
    assert_eq!(json["chat_history"][0]["content"], "hi");
    assert_eq!(json["cost"]["usage_excluding_cached_inference"]["talker"]["total_tokens"], 10);
    assert_eq!(serde_json::from_value::<cellblock_agents::ChatResult>(json).unwrap(), result);
}
