//! Directors and their teams.

use std::{sync::Arc, time::Duration};

use cellblock_agents::{
    Agent, Chat, ModelMessage,
    team::{Member, director},
};
use cellblock_models::{Answer, Scripted};

use crate::{
    cast::{last, meets, python, says, script},
    fake::Fake,
};

/// A project manager directs a lead, who directs a coder, whose code runs.
#[tokio::test]
async fn a_director_of_two_levels() {
    let fake = Fake::default();
    let task =
        |name: &str, task: &str| Answer::call(format!("ask_{name}"), serde_json::json!({"task": task}).to_string());
    let coder_model = script([python("print built"), "It is built. TERMINATE".to_owned()]);
    let coder = Member {
        agent: Agent::assistant("coder", coder_model.clone()),
        code: Some(cellblock_agents::CodeExecution::new(Arc::new(fake.clone()))),
    };
    let lead =
        director("lead", script([task("coder", "build it"), "The coder says it is built. TERMINATE".into()]), [coder]);
    let manager_model = script([task("lead", "see that it is built"), "All done. TERMINATE".into()]);
    let manager = director("manager", manager_model.clone(), [lead]);
    let chat = Chat { max_turns: Some(2), ..Chat::between(says("user", ""), manager) };
    let result = chat.run("Build it.").await.unwrap();
    assert_eq!(last(&result), "All done. TERMINATE");
    assert_eq!(fake.ran(), ["print built\n"]);
    let ModelMessage::Tool(told) = &manager_model.requests()[1].messages[2] else { panic!() };
    assert_eq!((told.content.as_str(), told.is_error), ("The coder says it is built.", false));
    // The coder saw the output of its code, and nothing of the conversation above.
    let ModelMessage::User { content, .. } = coder_model.requests()[1].messages.last().unwrap().clone() else {
        panic!()
    };
    assert_eq!(content.text(), "exitcode: 0 (execution succeeded)\nCode output: built\n");
    assert_eq!(coder_model.requests()[0].messages.len(), 1);
    assert_eq!(result.cost.including_cached.models["scripted"].total_tokens, 0);
}

/// Code of a member that has nowhere to run is part of its answer.
#[tokio::test]
async fn a_member_without_a_place_to_run_code() {
    let answer = python("print x");
    let member = Agent::assistant("member", script([answer.as_str()]));
    let model = script([Answer::call("ask_member", r#"{"task":"write"}"#), "thanks".into()]);
    let chat =
        Chat { max_turns: Some(2), ..Chat::between(says("user", ""), director("boss", model.clone(), [member])) };
    assert_eq!(last(&chat.run("hi").await.unwrap()), "thanks");
    let ModelMessage::Tool(told) = &model.requests()[1].messages[2] else { panic!() };
    assert_eq!(told.content, answer.trim());
}

/// A member whose code runs may answer with data in a fence; that is no code.
#[tokio::test]
async fn a_member_that_answers_with_data() {
    let answer = "Here:\n```json\n{\"a\": 1}\n```";
    let member = Member {
        agent: Agent::assistant("member", script([answer])),
        code: Some(cellblock_agents::CodeExecution::new(Arc::new(Fake::default()))),
    };
    let model = script([Answer::call("ask_member", r#"{"task":"write"}"#), "thanks".into()]);
    let chat =
        Chat { max_turns: Some(2), ..Chat::between(says("user", ""), director("boss", model.clone(), [member])) };
    chat.run("hi").await.unwrap();
    let ModelMessage::Tool(told) = &model.requests()[1].messages[2] else { panic!() };
    assert_eq!((told.content.as_str(), told.is_error), (answer, false));
}

#[tokio::test]
async fn a_member_that_fails_is_told_to_the_director() {
    let broken = Agent::assistant("broken", script::<&str>([]));
    let silent = Agent::assistant("silent", script(["", "", "", ""]));
    let calls = ["broken", "silent", "nobody"].map(|name| cellblock_agents::ToolCall {
        id: name.to_owned(),
        name: format!("ask_{name}"),
        arguments: r#"{"task":"work"}"#.to_owned(),
    });
    let model = script([Answer::Calls(String::new(), calls.to_vec()), "I see.".into()]);
    let chat =
        Chat { max_turns: Some(2), ..Chat::between(says("user", ""), director("boss", model, [broken, silent])) };
    let result = chat.run("hi").await.unwrap();
    let told: Vec<_> = result.history[2].tool_results.iter().map(|result| result.content.as_str()).collect();
    assert!(told[0].starts_with("Error: the model of broken failed"), "{told:?}");
    // One that says nothing has said so.
    assert_eq!(told[1], "");
    assert_eq!(told[2], "Error: Function ask_nobody not found.");
    assert_eq!(last(&result), "I see.");
}

/// Map and reduce: the members work at the same time.
#[tokio::test]
async fn members_work_at_once() {
    // Each answers only when all three have been asked.
    let meet = Arc::new(tokio::sync::Barrier::new(3));
    let readers = ["reader_1", "reader_2", "reader_3"].map(|name| meets(name, &meet));
    let calls: Vec<_> = (1..=3)
        .map(|number| cellblock_agents::ToolCall {
            id: number.to_string(),
            name: format!("ask_reader_{number}"),
            arguments: serde_json::json!({"task": format!("chapter {number}")}).to_string(),
        })
        .collect();
    let model = Arc::new(Scripted::with(move |request| match request.messages.len() {
        1 => Answer::Calls(String::new(), calls.clone()),
        _ => {
            let parts = request.messages.iter().filter_map(|message| match message {
                ModelMessage::Tool(result) => Some(result.content.clone()),
                _ => None,
            });
            parts.collect::<Vec<_>>().join("; ").into()
        }
    }));
    let chat = Chat { max_turns: Some(2), ..Chat::between(says("user", ""), director("head", model, readers)) };
    let running = tokio::time::timeout(Duration::from_secs(30), chat.run("Sum up the paper."));
    let result = running.await.unwrap().unwrap();
    assert_eq!(last(&result), "met for chapter 1; met for chapter 2; met for chapter 3");
}
