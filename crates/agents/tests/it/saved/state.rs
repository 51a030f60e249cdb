//! The state besides the messages is saved and restored.

use std::sync::Arc;

use cellblock_agents::scripted::ScriptedModel;
use cellblock_agents::{
    Agent, Chat, CodeExecution, HumanInputMode, Message, Opening, Speakers, StopReason,
};

use super::*;
use crate::{
    cast::{last, names, python, runs, says, texts},
    fake::Fake,
};

#[tokio::test]
async fn limits_go_on_with_the_chat() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("chat.jsonl");
    let limited = |turns, order: [&str; 2]| {
        let agents = order.map(|name| Agent {
            max_consecutive_auto_replies: 3,
            ..says(name, &format!("r{name}"))
        });
        Chat {
            agents: agents.to_vec(),
            log: Some(path.clone()),
            max_turns: turns,
            ..Chat::between(says("a", ""), says("b", ""))
        }
    };
    assert_eq!(limited(Some(2), ["a", "b"]).run("hi").await.unwrap().history.len(), 4);
    // b has answered twice, and answers once more, in any order of the agents.
    let result = limited(None, ["b", "a"]).resume().await.unwrap();
    assert_eq!(result.stop, StopReason::MaxAutoReplies { agent: "b".to_owned() });
    assert_eq!(names(&result), ["a", "b", "a", "b", "a", "b", "a"]);
}

#[tokio::test]
async fn messages_that_came_before_do_not_count_as_turns_after_a_resume() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("chat.jsonl");
    let history: Vec<_> = (0..6)
        .map(|number| Message::new(["a", "b"][number % 2], format!("old {number}")))
        .collect();
    let chat = Chat { history, ..pair(&path) };
    assert_eq!(chat.run("hi").await.unwrap().history.len(), 10);
    let log = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = log.split_inclusive('\n').collect();
    // Cut after the opening and one answer, after the opening, before it, and in the old messages.
    for (kept, length) in [(9, Some(10)), (8, Some(10)), (7, None), (4, None)] {
        std::fs::write(&path, lines[..kept].concat()).unwrap();
        match (chat.resume().await, length) {
            (Ok(result), Some(length)) => assert_eq!(result.history.len(), length, "{kept}"),
            (Err(error), None) => {
                assert!(
                    cellblock_exec::with_causes(&error).contains("ended before its first message")
                )
            }
            (other, _) => panic!("{kept}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_chat_without_a_first_message_is_resumed_too() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("chat.jsonl");
    let chat = Chat { history: vec![Message::new("a", "old")], max_turns: Some(1), ..pair(&path) };
    assert_eq!(texts(&chat.run(Opening::Nothing).await.unwrap()), ["old", "rb", "ra"]);
    let log = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = log.split_inclusive('\n').collect();
    std::fs::write(&path, lines[..2].concat()).unwrap();
    assert_eq!(texts(&chat.resume().await.unwrap()), ["old", "rb", "ra"]);
}

/// A group whose selection would differ after the crash.
#[tokio::test]
async fn who_was_interrupted_says_so_whoever_is_next() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("chat.jsonl");
    let group = |fake: &Fake, order: [&'static str; 3]| {
        let choose = move |messages: &[Message], _: &[&str]| {
            order.get(messages.len() - 1).map(|name| (*name).to_owned())
        };
        Chat {
            log: Some(path.clone()),
            speakers: Speakers::Custom(Arc::new(choose)),
            ..Chat::group(vec![
                says("coder", "hm"),
                runs("runner", fake.clone()),
                says("critic", "I see."),
            ])
        }
    };
    let fake = Fake::default();
    group(&fake, ["runner", "critic", "runner"]).run(python("print once")).await.unwrap();
    assert_eq!(fake.ran().len(), 1);
    let log = std::fs::read_to_string(&path).unwrap();
    let cut = log.find("{\"begun\"").map(|at| at + log[at..].find('\n').unwrap() + 1).unwrap();
    std::fs::write(&path, &log[..cut]).unwrap();
    let fake = Fake::default();
    let result = group(&fake, ["critic", "critic", "runner"]).resume().await.unwrap();
    assert!(fake.ran().is_empty(), "{:?}", fake.ran());
    assert_eq!(names(&result)[..3], ["coder", "runner", "critic"]);
    assert!(result.history[1].text().contains("was not run again"), "{:?}", texts(&result));
}

/// Code that has not run when the chat is cut runs afterwards, even if others have spoken since.
#[tokio::test]
async fn code_that_waits_for_its_turn_is_not_lost() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("chat.jsonl");
    let group = |fake: &Fake| Chat {
        log: Some(path.clone()),
        max_turns: Some(4),
        speakers: Speakers::RoundRobin,
        ..Chat::group(vec![
            says("coder", "done"),
            says("critic", "fine"),
            runs("runner", fake.clone()),
        ])
    };
    let fake = Fake::default();
    let whole = group(&fake).run(python("print once")).await.unwrap();
    let log = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = log.split_inclusive('\n').collect();
    // The header, the code, the critic.
    std::fs::write(&path, lines[..3].concat()).unwrap();
    let fake = Fake::default();
    let result = group(&fake).resume().await.unwrap();
    assert_eq!(fake.ran(), ["print once\n"]);
    assert_eq!(texts(&result), texts(&whole));
}

#[tokio::test]
async fn nested_chats_are_not_held_twice() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("chat.jsonl");
    let chat = |fake: &Fake| {
        let inner = cellblock_agents::NestedChat {
            max_turns: Some(1),
            ..cellblock_agents::NestedChat::new(runs("inner", fake.clone()))
        };
        let nested = vec![cellblock_agents::NestedChats {
            trigger: cellblock_agents::Trigger::Any,
            chats: vec![inner],
        }];
        let agent = Agent { nested, ..says("agent", "") };
        Chat {
            log: Some(path.clone()),
            max_turns: Some(1),
            ..Chat::between(says("user", ""), agent)
        }
    };
    let fake = Fake::default();
    let result = chat(&fake).run(python("print deep")).await.unwrap();
    assert_eq!(last(&result), "exitcode: 0 (execution succeeded)\nCode output: deep\n");
    let log = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = log.split_inclusive('\n').collect();
    std::fs::write(&path, lines[..3].concat()).unwrap();
    let fake = Fake::default();
    let result = chat(&fake).resume().await.unwrap();
    assert!(fake.ran().is_empty());
    assert!(last(&result).contains("were not run again"), "{:?}", texts(&result));
}

/// Cleared history stays cleared, and named files of blocks are restored.
#[tokio::test]
async fn what_was_cleared_and_what_was_saved() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("chat.jsonl");
    let model = Arc::new(ScriptedModel::with(|request| {
        format!("I see {} messages", request.messages.len())
    }));
    let group = |turns| {
        let human = Arc::new(cellblock_agents::ScriptedHuman::new(["clear history writer"]));
        let user = Agent { human, human_input: HumanInputMode::Always, ..says("user", "") };
        Chat {
            log: Some(path.clone()),
            max_turns: Some(turns),
            speakers: Speakers::RoundRobin,
            ..Chat::group(vec![
                says("starter", "more"),
                user,
                Agent::assistant("writer", model.clone()),
            ])
        }
    };
    assert_eq!(last(&group(3).run("hi").await.unwrap()), "I see 1 messages");
    let log = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = log.split_inclusive('\n').collect();
    std::fs::write(&path, lines[..3].concat()).unwrap();
    assert_eq!(last(&group(3).resume().await.unwrap()), "I see 1 messages");

    let path = directory.path().join("code.jsonl");
    let fake = Fake::default();
    let chat = |turns, code: &str| Chat {
        log: Some(path.clone()),
        max_turns: Some(turns),
        ..Chat::between(says("assistant", &python(code)), runs("user", fake.clone()))
    };
    chat(1, "")
        .run(python("# filename: lib/part.py\nwrite empty.txt\nwrite gone.txt 1"))
        .await
        .unwrap();
    let result = chat(2, "read lib/part.py\nread empty.txt\nread gone.txt").resume().await.unwrap();
    let output = "# filename: lib/part.py\nwrite empty.txt\nwrite gone.txt 1\n1";
    assert_eq!(last(&result), format!("exitcode: 0 (execution succeeded)\nCode output: {output}"));
    let files: Vec<_> = fake.specs()[1].files.iter().map(|file| file.path.clone()).collect();
    assert_eq!(files, ["empty.txt", "gone.txt", "lib/part.py"]);
}

/// An agent gets the files of its own code.
#[tokio::test]
async fn each_agent_gets_its_own_files() {
    let history = {
        let chat = Chat {
            max_turns: Some(1),
            ..Chat::between(says("a", ""), runs("one", Fake::default()))
        };
        chat.run(python("write one.txt 1")).await.unwrap().history
    };
    for (name, expected) in [("one", 1), ("two", 0)] {
        let fake = Fake::default();
        let agents = vec![
            says("a", &python("print x")),
            runs("one", Fake::default()),
            runs("two", Fake::default()),
        ];
        let mut chat = Chat {
            history: history.clone(),
            max_turns: Some(2),
            speakers: Speakers::Custom({
                let name = name.to_owned();
                Arc::new(move |messages: &[Message], _: &[&str]| {
                    Some(if messages.last().unwrap().name == "a" {
                        name.clone()
                    } else {
                        "a".to_owned()
                    })
                })
            }),
            ..Chat::group(agents)
        };
        let runner = chat.agents.iter_mut().find(|agent| agent.name == name).unwrap();
        runner.code = Some(CodeExecution::new(Arc::new(fake.clone())));
        chat.run(Opening::Nothing).await.unwrap();
        assert_eq!(fake.specs()[0].files.len(), expected, "{name}");
    }
}
