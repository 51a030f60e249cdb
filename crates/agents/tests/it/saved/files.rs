//! Files that are not a saved chat, or belong to another chat.

use std::sync::Arc;

use cellblock_agents::scripted::ScriptedModel;
use cellblock_agents::{Agent, Chat, Error, StopReason};

use super::*;
use crate::cast::{says, texts};

async fn refused(chat: &Chat) -> String {
    let error = chat.resume().await.unwrap_err();
    cellblock_exec::with_causes(&error)
}

#[tokio::test]
async fn files_that_are_no_saved_chat() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("chat.jsonl");
    let chat = pair(&path);
    let text = refused(&chat).await;
    assert!(text.contains("chat.jsonl") && text.contains("No such file"), "{text}");
    for other in ["", "hello\n", "{\"a\": 1}\n", "\n\n", "\u{0}\u{1}"] {
        std::fs::write(&path, other).unwrap();
        let text = refused(&chat).await;
        assert!(text.contains("not a saved chat"), "{other:?}: {text}");
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            other,
            "a file that is not ours was changed"
        );
    }
    std::fs::write(&path, "{\"cellblock_chat\":2,\"id\":\"x\",\"agents\":[\"a\",\"b\"]}\n")
        .unwrap();
    let text = refused(&chat).await;
    assert!(text.contains("version 2") && text.contains("reads version 1"), "{text}");
    let text = refused(&Chat { log: None, ..chat.clone() }).await;
    assert!(text.contains("`log`"), "{text}");
}

#[tokio::test]
async fn a_damaged_line_in_the_middle_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("chat.jsonl");
    pair(&path).run("hi").await.unwrap();
    let log = std::fs::read_to_string(&path).unwrap();
    let damaged = log.replacen("\"rb\"", "\"rb", 1);
    std::fs::write(&path, &damaged).unwrap();
    let text = refused(&pair(&path)).await;
    assert!(text.contains("line 3:"), "{text}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), damaged);
    std::fs::write(&path, log.replacen("\"stopped\"", "\"halted\"", 1)).unwrap();
    assert!(refused(&pair(&path)).await.contains("line 6:"));
}

#[tokio::test]
async fn other_agents_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("chat.jsonl");
    pair(&path).run("hi").await.unwrap();
    let chat = Chat { log: Some(path.clone()), ..Chat::between(says("a", ""), says("c", "")) };
    let error = chat.resume().await.unwrap_err();
    assert!(matches!(error, Error::Invalid(_)) && error.to_string().contains("`b`"), "{error}");
    // Control: the same agents continue, if they have remaining turns.
    let more = Chat { max_turns: Some(3), ..pair(&path) };
    assert_eq!(texts(&more.resume().await.unwrap()), ["hi", "rb", "ra", "rb", "ra", "rb"]);
}

#[tokio::test]
async fn a_file_that_is_there_is_not_overwritten() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("chat.jsonl");
    std::fs::write(&path, "mine").unwrap();
    let error = pair(&path).run("hi").await.unwrap_err();
    let text = cellblock_exec::with_causes(&error);
    assert!(text.contains("the file exists; resume the chat, or choose another file"), "{text}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
    let nowhere = pair(&directory.path().join("no/such/directory.jsonl"));
    assert!(matches!(nowhere.run("hi").await.unwrap_err(), Error::Log { .. }));
}

#[tokio::test]
async fn two_do_not_go_on_with_the_same_chat() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("chat.jsonl");
    let model =
        Arc::new(ScriptedModel::with(|_| "late").delay(std::time::Duration::from_secs(600)));
    let chat = Chat {
        log: Some(path.clone()),
        ..Chat::between(says("a", "ra"), Agent::assistant("b", model.clone()))
    };
    let (first, second) = (chat.clone(), chat.clone());
    let running = tokio::spawn(async move { first.run("hi").await.unwrap() });
    while model.calls() == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    assert!(refused(&second).await.contains("another process is continuing this chat"));
    chat.cancel.cancel();
    assert_eq!(running.await.unwrap().stop, StopReason::Cancelled);
    // Control: after its end, another one may.
    let resumed = Chat { cancel: Default::default(), max_turns: Some(1), ..second };
    let resumed = Chat { agents: vec![says("a", "ra"), says("b", "rb")], ..resumed };
    assert_eq!(texts(&resumed.resume().await.unwrap()), ["hi", "rb"]);
}
