//! The selection of the code to run.

use std::sync::Arc;

use cellblock_agents::{Chat, CodeExecution, Message, Speakers};

use super::*;
use crate::{
    cast::{last, python, recites, runs, says, texts},
    fake::Fake,
};

fn by_order(order: &'static [&'static str]) -> Speakers {
    Speakers::Custom(Arc::new(move |messages: &[Message], _: &[&str]| {
        order.get(messages.len() - 1).map(|name| (*name).to_owned())
    }))
}

#[tokio::test]
async fn only_the_newest_code_runs_and_only_once() {
    let fake = Fake::default();
    let agents = vec![
        recites("coder", [python("print newer").as_str(), "only words", "words again"]),
        says("critic", "no code"),
        runs("runner", fake.clone()),
    ];
    let order = &["coder", "critic", "runner", "critic", "runner", "coder", "runner"];
    let chat = Chat { speakers: by_order(order), max_empty: None, ..Chat::group(agents) };
    let result = chat.run(python("print older")).await.unwrap();
    assert_eq!(fake.ran(), ["print newer\n"], "{:?}", texts(&result));
    // With nothing new to run it gives its default reply.
    assert_eq!(texts(&result)[5], "");
}

/// Two agents that run code do not run the same code twice.
#[tokio::test]
async fn code_runs_in_one_place() {
    let (one, two) = (Fake::default(), Fake::default());
    let agents = vec![says("coder", "hm"), runs("one", one.clone()), runs("two", two.clone())];
    let chat = Chat { speakers: by_order(&["one", "two"]), ..Chat::group(agents) };
    chat.run(python("print x")).await.unwrap();
    assert_eq!((one.ran().len(), two.ran().len()), (1, 0));
}

#[tokio::test]
async fn variables_and_files_stay_for_the_chat_and_end_with_it() {
    let fake = Fake::default();
    let assistant = || recites("assistant", [python("add 2\nnumber\nread f.txt").as_str()]);
    let chat =
        Chat { max_turns: Some(2), ..Chat::between(assistant(), runs("user", fake.clone())) };
    let result = chat.run(python("add 40\nwrite f.txt text")).await.unwrap();
    assert_eq!(last(&result), "exitcode: 0 (execution succeeded)\nCode output: 42\ntext");
    assert_eq!((fake.specs().len(), fake.open_now()), (1, 0));
    // The next chat starts anew.
    let chat = Chat { agents: vec![assistant(), runs("user", fake.clone())], ..chat };
    assert!(last(&chat.run(python("pass_by")).await.unwrap()).contains("FileNotFoundError"));
    assert_eq!(fake.specs().len(), 2);
}

#[tokio::test]
async fn data_only_is_no_code() {
    let fake = Fake::default();
    let code = CodeExecution::new(Arc::new(fake.clone()));
    for message in [
        "```json\n{\"a\": 1}\n```",
        "```text\nhi\n```",
        "```console\n$ ls\n```",
        "```output\n1\n```",
        "no fence",
    ] {
        assert_eq!(last(&answer_with(code.clone(), message).await), "", "{message}");
    }
    assert_eq!(fake.specs().len(), 0, "a sandbox was opened for nothing");
    // Control: with a file name it is saved.
    let told = last(&answer_with(code, "```json\n// filename: a.json\n{}\n```").await);
    assert!(told.starts_with("exitcode: 0") && told.ends_with("files: a.json"), "{told}");
}

#[tokio::test]
async fn code_of_a_message_that_was_changed_by_a_hook() {
    let fake = Fake::default();
    let mut user = runs("user", fake.clone());
    user.hooks.last_received.push(Arc::new(|message: Message| Message {
        content: message.text().replace("dangerous", "harmless").into(),
        ..message
    }));
    let chat = Chat { max_turns: Some(1), ..Chat::between(says("a", ""), user) };
    let result = chat.run(python("print dangerous")).await.unwrap();
    assert_eq!(fake.ran(), ["print harmless\n"]);
    assert!(texts(&result)[0].contains("dangerous"));
}

#[test]
fn a_message_is_done_when_nothing_is_left_to_run() {
    use cellblock_agents::{ToolCall, asks_for_work, ends_with_word, is_done};
    for (text, runs, done) in [
        ("It is done. **TERMINATE**\n", false, true),
        ("It is done.", false, false),
        ("```python\nprint(1)\n```\nTERMINATE", true, false),
        ("```json\n{}\n```\nTERMINATE", false, true),
        ("```json\n# filename: data.json\n{}\n```\nTERMINATE", true, false),
        ("```\nprint('no language')\n```\nTERMINATE", true, false),
        ("TERMINATE is the word.", false, false),
    ] {
        let message = Message::new("a", text);
        let actual = (asks_for_work(&message, true), is_done(std::slice::from_ref(&message)));
        assert_eq!(actual, (runs, done), "{text}");
        assert!(!asks_for_work(&message, false), "{text}");
    }
    let call = ToolCall { id: "1".to_owned(), name: "x".to_owned(), arguments: "{}".to_owned() };
    let message = Message { tool_calls: vec![call], ..Message::new("a", "TERMINATE") };
    assert!(asks_for_work(&message, true) && asks_for_work(&message, false));
    assert!(!is_done(&[message]));
    let ends = |text: &str, word: &str| ends_with_word(&Message::new("a", text), word);
    assert!(
        ends("All DONE!", "DONE")
            && ends("All DONE!", "DONE!")
            && ends("All </done>. ", "</done>.")
    );
    assert!(!ends("DONE, all", "DONE") && !ends("anything", "") && !ends("done", "DONE"));
}
