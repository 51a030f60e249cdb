//! Loops and failures, and how reasons read.

use std::sync::Arc;

use cellblock_agents::{Agent, Budget, Chat, ModelError, StopReason};
use cellblock_models::{Answer, Scripted};

use super::*;
use crate::{
    cast::{python, recites, runs, says, texts, writes},
    fake::Fake,
};

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
    let lines = ["exit 1", "exit 2", "exit 1", "print ok", "exit 1"].map(python);
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
    assert_eq!(result.stop.to_string(), "the model of assistant failed: the answer of p broke off after 11 characters");
}

#[test]
fn reasons_read_as_in_the_transcript() {
    let agent = || "user".to_owned();
    for (reason, text) in [
        (StopReason::MaxTurns { turns: 2 }, "Maximum turns (2) reached"),
        (StopReason::Termination { agent: agent() }, "Termination message condition on agent 'user' met"),
        (StopReason::MaxAutoReplies { agent: agent() }, "Maximum number of consecutive auto-replies of 'user' reached"),
        (StopReason::Human { agent: agent() }, "User requested to end the conversation"),
        (StopReason::NoReply { agent: agent() }, "No reply of 'user'"),
        (StopReason::NoSpeaker, "No next speaker"),
    ] {
        assert_eq!(reason.to_string(), text);
        assert!(reason.is_success());
        let json = serde_json::to_string(&reason).unwrap();
        assert!(json.contains(&format!("\"reason\":\"{}\"", reason.kind())), "{json}");
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
