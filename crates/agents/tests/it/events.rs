//! Events of a running chat: streamed text, notices, and their order.

use std::sync::Arc;

use async_trait::async_trait;
use cellblock_agents::scripted::ScriptedModel;
use cellblock_agents::{
    Agent, Chat, Completion, Event, FinishReason, ModelClient, ModelError, ModelRequest, Reply,
    StopReason, TextSink,
};

use crate::cast::{says, texts, writes};

/// Runs a chat and returns its events.
async fn followed(chat: Chat) -> (cellblock_agents::ChatResult, Vec<Event>) {
    let (events, mut heard) = cellblock_agents::event::channel();
    let result = Chat { events: Some(events), ..chat }.run("hi").await.unwrap();
    let mut told = Vec::new();
    while let Ok(event) = heard.try_recv() {
        told.push(event);
    }
    (result, told)
}

/// A model that fails in the middle of an answer.
#[derive(Debug)]
struct Breaks;

#[async_trait]
impl ModelClient for Breaks {
    fn name(&self) -> &str {
        "breaks"
    }

    fn provider(&self) -> &str {
        "test"
    }

    async fn complete(
        &self,
        _: &ModelRequest,
        on_text: Option<&TextSink>,
    ) -> Result<Completion, ModelError> {
        if let Some(on_text) = on_text {
            on_text("half an ");
        }
        Err(ModelError::Malformed { provider: "test".to_owned(), what: "it ends".to_owned() })
    }
}

#[tokio::test]
async fn text_is_streamed_before_its_message() {
    let answer = "One two three four five six seven eight nine ten.";
    let chat = Chat {
        max_turns: Some(1),
        ..Chat::between(says("user", ""), writes("assistant", [answer]))
    };
    let (_, told) = followed(chat).await;
    let mut pieces = String::new();
    let mut kinds = Vec::new();
    for event in &told {
        let kind = match event {
            Event::ChatStarted { parent: None, agents, .. } if agents == &["user", "assistant"] => {
                "started"
            }
            Event::Message { to, message, streamed: false, .. }
                if to == "assistant" && message.text() == "hi" =>
            {
                "hi"
            }
            Event::Text { from, to, text, .. } if from == "assistant" && to == "user" => {
                pieces.push_str(text);
                "text"
            }
            Event::ModelAnswered { agent, .. } if agent == "assistant" => "answered",
            Event::Message { to, message, streamed: true, .. }
                if to == "user" && message.text() == answer =>
            {
                "answer"
            }
            Event::ChatStopped { depth: 0, reason: StopReason::MaxTurns { turns: 1 }, .. } => {
                "stopped"
            }
            other => panic!("{other:?}"),
        };
        if kinds.last() != Some(&kind) {
            kinds.push(kind);
        }
    }
    assert_eq!(kinds, ["started", "hi", "text", "answered", "answer", "stopped"]);
    assert_eq!(pieces, answer);
}

#[tokio::test]
async fn text_that_breaks_off_is_withdrawn() {
    let (result, told) =
        followed(Chat::between(says("user", ""), Agent::assistant("assistant", Arc::new(Breaks))))
            .await;
    assert_eq!(texts(&result), ["hi"]);
    let at = told.iter().position(|event| matches!(event, Event::Text { .. })).unwrap();
    assert!(
        matches!(&told[at + 1], Event::TextWithdrawn { from, .. } if from == "assistant"),
        "{told:?}"
    );
    assert!(matches!(
        told.last(),
        Some(Event::ChatStopped { reason: StopReason::Failed { .. }, .. })
    ));
    assert!(!told.iter().any(|event| matches!(event, Event::ModelAnswered { .. })));
}

#[tokio::test]
async fn an_answer_that_was_cut_off_is_noticed() {
    for (finish, words) in [
        (FinishReason::Length, Some("its length limit")),
        (FinishReason::Filtered, Some("withheld")),
        (FinishReason::Stop, None),
    ] {
        let model =
            ScriptedModel::with(move |_| Completion { finish, ..Completion::text("m", "an answ") });
        let assistant = Agent::assistant("assistant", Arc::new(model));
        let chat = Chat { max_turns: Some(1), ..Chat::between(says("user", ""), assistant) };
        let (_, told) = followed(chat).await;
        let notice = told.iter().find_map(|event| match event {
            Event::Notice { text, .. } => Some(text.clone()),
            _ => None,
        });
        match words {
            Some(words) => {
                assert!(notice.as_ref().is_some_and(|text| text.contains(words)), "{notice:?}")
            }
            None => assert_eq!(notice, None),
        }
    }
}

#[tokio::test]
async fn an_agent_without_an_answer_ends_the_chat() {
    let silent = Agent { replies: vec![Reply::Code, Reply::Model], ..says("silent", "not said") };
    let (result, _) = followed(Chat::between(says("user", ""), silent)).await;
    assert_eq!(
        (texts(&result), &result.stop),
        (vec!["hi".to_owned()], &StopReason::NoReply { agent: "silent".to_owned() })
    );
}

/// Each event is a JSON object with its kind and its chat.
#[tokio::test]
async fn events_are_json() {
    let chat = Chat {
        max_turns: Some(1),
        ..Chat::between(says("user", ""), writes("assistant", ["yes"]))
    };
    let (result, told) = followed(chat).await;
    for event in &told {
        let json = serde_json::to_value(event).unwrap();
        assert_eq!(json["chat"], result.id.as_str(), "{json}");
        assert!(json["event"].is_string(), "{json}");
    }
    let answered = told.iter().find(|event| matches!(event, Event::ModelAnswered { .. })).unwrap();
    assert!(serde_json::to_value(answered).unwrap()["duration_ms"].is_f64());
}
