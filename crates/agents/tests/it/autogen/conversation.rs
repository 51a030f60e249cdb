//! Cases 23 to 32: two agents without a model, and sequences.

use std::sync::Arc;

use cellblock_agents::scripted::ScriptedAnswer;
use cellblock_agents::{
    Agent, Chat, Error, HumanInputMode, Message, NestedChat, NestedChats, ScriptedHuman,
    StopReason, Trigger,
    sequence::{Step, run_in_order},
    tool,
};

use crate::cast::{last, names, recites, says, texts, writes};

fn limited(agent: Agent, most: u32) -> Agent {
    Agent { max_consecutive_auto_replies: most, ..agent }
}

#[tokio::test]
async fn case_23_turns_are_round_trips() {
    let chat = Chat { max_turns: Some(2), ..Chat::between(says("a", "ra"), says("b", "rb")) };
    let result = chat.run("hi").await.unwrap();
    assert_eq!(texts(&result), ["hi", "rb", "ra", "rb"]);
    assert_eq!(names(&result), ["a", "b", "a", "b"]);
    assert_eq!(result.stop, StopReason::MaxTurns { turns: 2 });
    assert_eq!(result.summary, "rb");
}

#[tokio::test]
async fn case_24_no_turns_no_message() {
    let chat = Chat { max_turns: Some(0), ..Chat::between(says("a", "ra"), says("b", "rb")) };
    let result = chat.run("hi").await.unwrap();
    assert_eq!((result.history.len(), result.summary.as_str()), (0, ""));
}

#[tokio::test]
async fn case_25_limits_on_automatic_replies() {
    let (a, b) = (|| says("a", "ra"), || says("b", "rb"));
    for (chat, length, who) in [
        (Chat::between(limited(a(), 0), limited(b(), 0)), 1, "b"),
        (Chat::between(a(), limited(b(), 1)), 3, "b"),
        (Chat::between(limited(a(), 1), b()), 4, "a"),
        (Chat::between(a(), b()), 201, "b"),
    ] {
        let result = chat.run("hi").await.unwrap();
        assert_eq!(result.history.len(), length);
        assert_eq!(result.stop, StopReason::MaxAutoReplies { agent: who.to_owned() });
    }
}

#[tokio::test]
async fn case_26_only_exactly_terminate_ends() {
    let chat =
        |reply| Chat { max_turns: Some(3), ..Chat::between(says("a", "ra"), says("b", reply)) };
    let result = chat("TERMINATE").run("hi").await.unwrap();
    assert_eq!(texts(&result), ["hi", "TERMINATE"]);
    assert_eq!(result.stop, StopReason::Termination { agent: "a".to_owned() });
    let result = chat("done TERMINATE").run("hi").await.unwrap();
    assert_eq!(result.history.len(), 6);
}

#[tokio::test]
async fn case_27_the_summary_lacks_the_word() {
    let chat = Chat {
        max_turns: Some(1),
        ..Chat::between(says("a", "ra"), says("b", "answer 42. TERMINATE"))
    };
    assert_eq!(chat.run("hi").await.unwrap().summary, "answer 42. ");
}

#[tokio::test]
async fn case_28_carryover_comes_after_the_message() {
    let carryover = vec!["C1".to_owned(), "C2".to_owned()];
    let chat =
        Chat { max_turns: Some(1), carryover, ..Chat::between(says("a", "ra"), says("b", "rb")) };
    assert_eq!(texts(&chat.run("hi").await.unwrap())[0], "hi\nContext: \nC1\nC2");
}

#[tokio::test]
async fn case_29_a_sequence_carries_summaries() {
    let chat = |name: &str, reply: &str| Chat {
        max_turns: Some(1),
        ..Chat::between(says("user", ""), says(name, reply))
    };
    let steps = |without: Vec<usize>| {
        vec![
            Step::new(chat("first", "one result"), "do one"),
            Step::new(chat("second", "two results"), "do two"),
            Step { excluded_carryover: without, ..Step::new(chat("third", "three"), "do three") },
        ]
    };
    let openings = |results: Vec<cellblock_agents::ChatResult>| -> Vec<String> {
        results.iter().map(|result| texts(result)[0].clone()).collect()
    };
    let all = openings(run_in_order(steps(vec![])).await.unwrap());
    assert_eq!(
        all,
        ["do one", "do two\nContext: \none result", "do three\nContext: \none result\ntwo results"]
    );
    let without = openings(run_in_order(steps(vec![0])).await.unwrap());
    assert_eq!(without[2], "do three\nContext: \ntwo results");
}

#[tokio::test]
async fn case_30_nested_chats_give_the_answer() {
    let chats = vec![
        NestedChat::new(says("inner_1", "step one")),
        NestedChat::new(says("inner_2", "FINAL_RESULT")),
    ];
    let nested = vec![NestedChats { trigger: Trigger::From(vec!["user".to_owned()]), chats }];
    let agent = Agent { nested, ..says("agent", "not asked") };
    let chat = Chat { max_turns: Some(1), ..Chat::between(says("user", ""), agent.clone()) };
    let result = chat.run("Start chat").await.unwrap();
    assert_eq!(texts(&result), ["Start chat", "FINAL_RESULT"]);
    // Control: an agent that is no trigger gets the agent's own answer.
    let chat = Chat { max_turns: Some(1), ..Chat::between(says("other", ""), agent) };
    assert_eq!(last(&chat.run("Start chat").await.unwrap()), "not asked");
}

#[tokio::test]
async fn case_31_a_person_is_always_asked() {
    let human = Arc::new(ScriptedHuman::new(["", "hello", "exit"]));
    let b = Agent { human, human_input: HumanInputMode::Always, ..says("b", "rb") };
    let result = Chat::between(says("a", "ra"), b).run("hi").await.unwrap();
    assert_eq!(texts(&result), ["hi", "rb", "ra", "hello", "ra"]);
    assert_eq!(result.human_input, ["hello", "exit"]);
    assert_eq!(result.stop, StopReason::Human { agent: "b".to_owned() });
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Add {
    a: i64,
    b: i64,
}

#[tokio::test]
async fn case_32_errors_of_functions() {
    let add = tool::function("add", "Adds.", |Add { a, b }| async move { Ok::<_, String>(a + b) });
    let call = |id: &str, name: &str, arguments: &str| cellblock_agents::ToolCall {
        id: id.to_owned(),
        name: name.to_owned(),
        arguments: arguments.to_owned(),
    };
    let calls = vec![
        call("1", "add", r#"{"a": 1, "b": 2}"#),
        call("2", "subtract", "{}"),
        call("3", "add", "{a: 1}"),
        call("4", "add", r#"{"a": 20, "b": 22}"#),
    ];
    let answers = [ScriptedAnswer::Calls("I calculate.".to_owned(), calls), "done".into()];
    let assistant = Agent { tools: vec![Arc::new(add)], ..writes("assistant", answers) };
    let chat = Chat { max_turns: Some(2), ..Chat::between(says("user", ""), assistant) };
    let result = chat.run("calculate").await.unwrap();
    let results = &result.history[2].tool_results;
    let contents: Vec<_> =
        results.iter().map(|result| (result.id.as_str(), result.content.as_str())).collect();
    assert_eq!(contents[0], ("1", "3"));
    assert_eq!(contents[1], ("2", "Error: Function subtract not found."));
    assert!(
        contents[2].1.starts_with("Error: ")
            && contents[2].1.ends_with("\n The argument must be in JSON format.")
    );
    assert_eq!(contents[3], ("4", "42"));
    assert_eq!(last(&result), "done");
}

#[tokio::test]
async fn recited_lines_are_said_in_order() {
    let chat =
        Chat { max_turns: Some(2), ..Chat::between(recites("a", ["x"]), recites("b", ["y", "z"])) };
    assert_eq!(texts(&chat.run("hi").await.unwrap()), ["hi", "y", "x", "z"]);
}

#[tokio::test]
async fn a_chat_of_one_or_of_namesakes_makes_no_sense() {
    for agents in [
        vec![],
        vec![says("a", "")],
        vec![says("a", ""), says("a", "")],
        vec![says("a", ""), says(" ", "")],
    ] {
        let error = Chat::group(agents).run("hi").await.unwrap_err();
        assert!(matches!(error, Error::Invalid(_)), "{error}");
    }
    let three = Chat {
        agents: vec![says("a", ""), says("b", ""), says("c", "")],
        ..Chat::between(says("a", ""), says("b", ""))
    };
    assert!(three.run("hi").await.unwrap_err().to_string().contains("Chat::group"));
    let history = vec![Message::new("stranger", "hi")];
    let chat = Chat { history, ..Chat::between(says("a", ""), says("b", "")) };
    assert!(chat.run("hi").await.unwrap_err().to_string().contains("stranger"));
}
