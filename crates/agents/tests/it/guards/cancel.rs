//! Cancellation ends everything that runs.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use cellblock_agents::scripted::{ScriptedAnswer, ScriptedModel};
use cellblock_agents::{
    Agent, Chat, CodeExecution, HumanInputMode, StopReason, event::Event, tool,
};
use cellblock_exec::CancellationToken;
use cellblock_local::{LocalExecutor, Options};

use super::*;
use crate::{
    cast::{python, runs, says, texts, writes},
    fake::Fake,
};

/// The time that a chat takes to end after its cancellation: within 100 ms on an idle machine;
/// tests that run beside others allow more.
#[expect(clippy::print_stdout, reason = "the figure is for who looks; `--nocapture` shows it")]
async fn cancelled_within(
    chat: Chat,
    opening: &str,
    began: impl Fn() -> bool,
) -> (cellblock_agents::ChatResult, Duration) {
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
    let chat =
        Chat { events: Some(events), ..Chat::between(writes::<&str>("assistant", []), user) };
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
    let member = Agent {
        tools: vec![Arc::new(wait)],
        ..writes("member", [ScriptedAnswer::call("wait", "null")])
    };
    let model = crate::cast::script([ScriptedAnswer::call("ask_member", r#"{"task":"wait"}"#)]);
    let chat = Chat::between(user(), cellblock_agents::team::director("director", model, [member]));
    cancelled_within(chat, "hi", || began.load(std::sync::atomic::Ordering::SeqCst) > 0).await;
}

#[tokio::test]
async fn a_chat_that_never_waits_can_be_cancelled_on_its_own_thread() {
    let cancel = CancellationToken::new();
    let endless = |name: &str| Agent { max_consecutive_auto_replies: u32::MAX, ..says(name, "x") };
    let chat = Chat {
        cancel: cancel.clone(),
        max_turns: Some(20_000_000),
        ..Chat::between(endless("a"), endless("b"))
    };
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
    let model = Arc::new(ScriptedModel::with(|_| "x"));
    let chat =
        Chat { cancel, ..Chat::between(user(), Agent::assistant("assistant", model.clone())) };
    let result = chat.run("hi").await.unwrap();
    assert_eq!((result.stop, model.calls()), (StopReason::Cancelled, 0));
}

/// A nested chat can be ended alone, and can have a subscriber of its own.
#[tokio::test]
async fn a_chat_within_another_has_a_token_of_its_own() {
    let cancel = CancellationToken::new();
    let (events, mut heard) = cellblock_agents::event::channel();
    let inner = Chat {
        cancel: cancel.clone(),
        events: Some(events),
        ..Chat::between(says("inner", "x"), Agent::assistant("slow", slow()))
    };
    let spec = tool::function("discuss", "Discusses.", |(): ()| async { Ok::<_, String>(()) }).spec;
    let discuss = tool::function_with_spec(spec, move |_, caller| {
        let inner = inner.clone();
        async move {
            let result = Box::pin(inner.run_within(&caller.context, "hi"))
                .await
                .map_err(|error| error.to_string())?;
            Ok(result.stop.to_string().into())
        }
    });
    let answers = [ScriptedAnswer::call("discuss", "null"), "done".into()];
    let assistant = Agent { tools: vec![Arc::new(discuss)], ..writes("assistant", answers) };
    let chat = Chat { max_turns: Some(2), ..Chat::between(user(), assistant) };
    let running = tokio::spawn(async move { chat.run("hi").await.unwrap() });
    while !matches!(heard.recv().await, Some(Event::Message { depth: 1, .. })) {}
    cancel.cancel();
    let result = running.await.unwrap();
    assert_eq!(result.history[2].tool_results[0].content, "Cancelled");
    assert_eq!(result.history[3].text(), "done");
}
