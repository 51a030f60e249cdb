//! Loops and failures, and the texts of reasons.

use std::sync::Arc;

use cellblock_agents::scripted::{ScriptedAnswer, ScriptedModel};
use cellblock_agents::{Agent, Budget, Chat, ModelError, StopReason};

use super::*;
use crate::{
    cast::{python, recites, runs, says, texts, writes},
    fake::Fake,
};

#[tokio::test]
async fn the_same_failure_again_and_again() {
    let fake = Fake::default();
    let broken = python("print broken\nexit 1");
    let assistant =
        Agent::assistant("assistant", Arc::new(ScriptedModel::with(move |_| broken.clone())));
    let chat = |most| Chat {
        max_same_failures: most,
        max_turns: Some(10),
        ..Chat::between(runs("user", fake.clone()), assistant.clone())
    };
    let result = chat(Some(3)).run("hi").await.unwrap();
    assert_eq!(result.stop, StopReason::SameFailure { times: 3 });
    assert_eq!(result.stop.to_string(), "Code or tools failed in the same way 3 times in a row");
    assert_eq!((fake.ran().len(), result.history.len()), (3, 7));
    // Control: not without the guard, and not if the failures differ.
    assert_eq!(chat(None).run("hi").await.unwrap().stop, StopReason::MaxTurns { turns: 10 });
    let lines = ["exit 1", "exit 2", "exit 1", "print ok", "exit 1"].map(python);
    let assistant = recites("assistant", lines.each_ref().map(String::as_str));
    let chat = Chat { max_turns: Some(6), ..Chat::between(runs("user", fake.clone()), assistant) };
    assert_eq!(chat.run("hi").await.unwrap().stop, StopReason::MaxTurns { turns: 6 });
}

/// A model that calls an unknown tool forever.
#[tokio::test]
async fn the_same_failure_of_a_tool() {
    let calls = |name: fn(usize) -> String| {
        let model = ScriptedModel::with(move |request| {
            ScriptedAnswer::call(name(request.messages.len()), "{}")
        });
        let chat = Chat::between(says("user", ""), Agent::assistant("assistant", Arc::new(model)));
        Chat { max_turns: Some(50), ..chat }
    };
    let result = calls(|_| "nothing".to_owned()).run("hi").await.unwrap();
    assert_eq!((&result.stop, result.history.len()), (&StopReason::SameFailure { times: 3 }, 7));
    // Control: another tool each time is not the same failure.
    let result = calls(|number| format!("nothing_{number}")).run("hi").await.unwrap();
    assert_eq!(result.stop, StopReason::MaxTurns { turns: 50 });
}

/// Hooks that change the message make no difference.
#[tokio::test]
async fn the_same_failure_in_other_words() {
    let broken = python("exit 1");
    let assistant =
        Agent::assistant("assistant", Arc::new(ScriptedModel::with(move |_| broken.clone())));
    let mut user = runs("user", Fake::default());
    let count = std::sync::atomic::AtomicUsize::new(0);
    user.hooks.before_send.push(Arc::new(move |message| {
        let number = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        cellblock_agents::Message::new(message.name, format!("It failed for the {number}. time."))
    }));
    let chat = Chat { max_turns: Some(10), ..Chat::between(user, assistant) };
    assert_eq!(chat.run("hi").await.unwrap().stop, StopReason::SameFailure { times: 3 });
}

/// A chat that a guard stopped can be resumed.
#[tokio::test]
async fn a_chat_that_was_stopped_as_a_loop_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let broken = python("exit 1");
    let failing = Agent::assistant("b", Arc::new(ScriptedModel::with(move |_| broken.clone())));
    for (file, agents) in [
        ("failing", [runs("a", Fake::default()), failing]),
        ("silent", [says("a", "talk"), says("b", "")]),
    ] {
        let [a, b] = agents;
        let log = Some(directory.path().join(file));
        let chat = Chat { log, max_turns: Some(50), ..Chat::between(a, b) };
        let first = chat.run("hi").await.unwrap();
        assert!(!first.stop.is_success() && first.history.len() < 10, "{}", first.stop);
        let second = chat.resume().await.unwrap();
        assert_eq!(second.stop, first.stop);
        assert!(second.history.len() > first.history.len() + 3, "{}", second.history.len());
    }
}

#[tokio::test]
async fn limits_of_nothing_are_refused() {
    let chat = || Chat { max_turns: Some(1), ..Chat::between(says("a", "x"), says("b", "y")) };
    for wrong in
        [Chat { max_empty: Some(0), ..chat() }, Chat { max_same_failures: Some(0), ..chat() }]
    {
        let error = wrong.run("hi").await.unwrap_err().to_string();
        assert!(error.contains("of 0 would end every chat at once"), "{error}");
    }
    assert!(chat().run("hi").await.is_ok());
}

#[test]
fn a_limit_on_the_rate_says_when_to_come_back() {
    let limited = |retry_after| ModelError::RateLimited {
        provider: "p".into(),
        message: "slow down".into(),
        retry_after,
    };
    assert_eq!(limited(None).to_string(), "rate limit of p reached: slow down");
    let error = limited(Some(Duration::from_millis(20_100))).to_string();
    assert_eq!(error, "rate limit of p reached: slow down (retry in 21 s)");
}

#[tokio::test]
async fn one_agent_that_says_nothing_is_enough() {
    let chat = Chat { max_turns: Some(50), ..Chat::between(says("a", "talk"), says("b", "")) };
    let result = chat.run("hi").await.unwrap();
    assert_eq!(result.stop.to_string(), "'b' said nothing 3 times in a row");
    assert_eq!(result.history.len(), 6);
    // Control: failures that are not in a row are no loop.
    let b = recites("b", ["", "", "word", "", ""]);
    let chat = Chat { max_turns: Some(5), ..Chat::between(says("a", "talk"), b) };
    assert_eq!(chat.run("hi").await.unwrap().stop, StopReason::MaxTurns { turns: 5 });
}

#[tokio::test]
async fn a_failed_model_ends_the_chat_and_keeps_it() {
    let interrupted = || ModelError::Interrupted {
        provider: "p".to_owned(),
        received: "half an ans".to_owned(),
        source: None,
    };
    let answers: Vec<ScriptedAnswer> = vec!["first".into(), interrupted().into()];
    let chat = Chat::between(user(), writes("assistant", answers));
    let result = chat.run("hi").await.unwrap();
    assert_eq!(texts(&result), ["hi", "first", "go on"]);
    let StopReason::Failed { message, causes, partial } = &result.stop else {
        panic!("{}", result.stop)
    };
    assert_eq!(message, "the model of `assistant` failed");
    assert_eq!(causes[0], "the answer of p broke off after 11 characters");
    assert_eq!(partial.as_deref(), Some("half an ans"));
    assert_eq!(
        result.stop.to_string(),
        "the model of `assistant` failed: the answer of p broke off after 11 characters"
    );
}

#[test]
fn reasons_read_as_in_the_transcript() {
    let agent = || "user".to_owned();
    for (reason, text) in [
        (StopReason::MaxTurns { turns: 2 }, "Maximum turns (2) reached"),
        (
            StopReason::Termination { agent: agent() },
            "Termination message condition on agent 'user' met",
        ),
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
