//! The 14 defects of AutoGen 0.2, each with a test that it does not exist here.

use std::{sync::Arc, time::Duration};

use cellblock_agents::scripted::ScriptedModel;
use cellblock_agents::{
    Agent, AutoSelection, Chat, CodeExecution, HumanInputMode, NestedChat, NestedChats, Speakers,
    StopReason, Summary, Trigger,
};
use cellblock_answer::{
    code_blocks,
    language::infer,
    run::{RunOptions, run_blocks},
};
use cellblock_exec::{Language, Limits, Outcome, SessionSpec};
use cellblock_local::{LocalExecutor, Options};

use crate::{
    cast::{last, python, recites, runs, says, texts, writes},
    fake::Fake,
};

async fn local() -> Arc<LocalExecutor> {
    Arc::new(LocalExecutor::start(Options::default()).await.unwrap())
}

/// The answer of the agent that runs code to a message.
async fn local_answer(message: &str) -> String {
    let code = Some(CodeExecution::new(local().await));
    let user = Agent { code, human_input: HumanInputMode::Never, ..Agent::new("user") };
    let chat = Chat { max_turns: Some(1), ..Chat::between(says("assistant", ""), user) };
    last(&chat.run(message).await.unwrap())
}

#[test]
fn defect_01_a_comment_is_no_file_name() {
    let name = |code: &str| code_blocks(&python(code))[0].filename.clone();
    assert_eq!(name("# Load the data\nprint(1)"), None);
    assert_eq!(name("# data.csv is read\nprint(1)"), None);
    assert_eq!(name("# filename: load.py\nprint(1)"), Some("load.py".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn defect_02_directories_of_a_file_name_are_made() {
    let answer = local_answer(&python(
        "# filename: sub/dir/a.py\nimport os\nprint(os.path.exists('sub/dir/a.py'))",
    ))
    .await;
    assert!(
        answer.starts_with("exitcode: 0 (execution succeeded)\nCode output: True\n"),
        "{answer}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn defect_03_output_that_is_no_text() {
    let answer =
        local_answer(&python("import sys\nsys.stdout.buffer.write(b'a\\xff\\xfeb\\n')")).await;
    assert!(
        answer.starts_with("exitcode: 0 (execution succeeded)\nCode output: a\u{fffd}\u{fffd}b\n"),
        "{answer}"
    );
}

#[tokio::test]
async fn defect_04_no_blocks_are_an_empty_result() {
    let (fake, spec, options) = (Fake::default(), SessionSpec::default(), RunOptions::default());
    let report = run_blocks(&fake, &spec, &[], &options, Arc::new(())).await.unwrap();
    assert_eq!((report.exit_code, report.blocks.len(), report.error), (0, 0, None));
}

#[test]
fn defect_05_languages_are_not_guessed_wrongly() {
    assert_eq!(infer("ls -la"), Some(Language::SH));
    assert_eq!(infer("{\"a\": 1}"), Some(Language::new("json")));
    assert_eq!(infer(""), None);
    assert!(infer("pipeline = 1").is_none_or(|language| !language.is_shell()));
}

#[tokio::test(flavor = "multi_thread")]
async fn defect_06_a_timeout_keeps_output_and_leaves_nothing_running() {
    let limits = Limits { wall: Duration::from_secs(3), ..Limits::default() };
    let session = SessionSpec { limits, ..SessionSpec::default() };
    let code = Some(CodeExecution { session, ..CodeExecution::new(local().await) });
    let user = Agent { code, human_input: HumanInputMode::Never, ..Agent::new("user") };
    let look = "```python\nimport os, time\ntime.sleep(1.5)\nprint(sorted(os.listdir('.')))\n```";
    let chat =
        || Chat { max_turns: Some(2), ..Chat::between(recites("assistant", [look]), user.clone()) };
    // The grandchild would write its file after the timeout, and the next block would see it.
    let said = texts(
        &chat()
            .run("```sh\necho partial\n(sleep 4; touch survived.txt) &\nsleep 60\n```")
            .await
            .unwrap(),
    );
    assert!(
        said[1].starts_with("exitcode: 124 (execution failed)\nCode output: partial\nTimeout\n"),
        "{}",
        said[1]
    );
    assert!(
        said[3].starts_with("exitcode: 0 (execution succeeded)\nCode output: []\n"),
        "{said:?}"
    );
    // Control: after a block that ended by itself, its grandchild continues.
    let said = texts(&chat().run("```sh\n(sleep 0.2; touch survived.txt) &\n```").await.unwrap());
    assert!(said[3].contains("Code output: ['survived.txt']\n"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn defect_07_words_are_not_forbidden_but_the_host_is_out_of_reach() {
    let answer = local_answer(
        "```sh\necho add dd sudo\ndd if=/dev/zero of=x bs=1 count=3 2>/dev/null\nwc -c < x\n```",
    )
    .await;
    assert!(
        answer.starts_with("exitcode: 0 (execution succeeded)\nCode output: add dd sudo\n3\n"),
        "{answer}"
    );
    // The sandbox prevents what AutoGen's "sanitizer" was to prevent.
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("mine.txt");
    std::fs::write(&file, "mine").unwrap();
    let path = directory.path().display();
    local_answer(&format!("```sh\nrm -fr {path}\n```")).await;
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
}

/// Converts a cost to a number of calls: each costs one cent.
fn cents(cost: f64) -> u32 {
    (cost * 100.0).round() as u32
}

fn costly(answers: &[&str]) -> Arc<ScriptedModel> {
    Arc::new(ScriptedModel::new("costly", answers.iter().copied()).cost(0.01).usage(10, 1))
}

#[tokio::test]
async fn defect_08_every_model_call_counts() {
    let selector = costly(&["expert", "critic"]);
    let inner = costly(&["the inner answer"]);
    let nested = vec![NestedChats {
        trigger: Trigger::Any,
        chats: vec![NestedChat::new(Agent::assistant("inner", inner.clone()))],
    }];
    let expert = Agent { nested, ..says("expert", "") };
    let critic = Agent::assistant("critic", costly(&["fine"]));
    let reflecting = costly(&["the summary"]);
    let selection = AutoSelection { model: Some(selector.clone()), ..AutoSelection::default() };
    let chat = Chat {
        speakers: Speakers::Auto(selection),
        max_turns: Some(3),
        summary: Summary::Reflection { prompt: None, model: Some(reflecting.clone()) },
        ..Chat::group(vec![says("user", ""), expert, critic])
    };
    let result = chat.run("begin").await.unwrap();
    assert_eq!(texts(&result), ["begin", "the inner answer", "fine"]);
    assert_eq!(result.summary, "the summary");
    // Two selections, one nested call, one of the critic, one summary.
    let spent = &result.cost.excluding_cached;
    assert_eq!(cents(spent.total_cost), 5);
    assert_eq!(spent.models["costly"].total_tokens, 5 * 11);
    assert_eq!((selector.calls(), inner.calls(), reflecting.calls()), (2, 1, 1));
}

#[tokio::test]
async fn defect_09_a_hundred_thousand_messages() {
    let endless = |name: &str, reply: &str| Agent {
        max_consecutive_auto_replies: u32::MAX,
        ..says(name, reply)
    };
    let chat =
        Chat { max_turns: Some(50_000), ..Chat::between(endless("a", "ra"), endless("b", "rb")) };
    let result = chat.run("hi").await.unwrap();
    assert_eq!(result.history.len(), 100_000);
    assert_eq!(last(&result), "rb");
}

#[tokio::test]
async fn defect_10_a_result_is_its_owners() {
    let chat = Chat { max_turns: Some(1), ..Chat::between(says("a", "ra"), says("b", "rb")) };
    let mut first = chat.run("one").await.unwrap();
    let before = first.clone();
    let second = chat.run("two").await.unwrap();
    assert_eq!(first, before);
    first.history.clear();
    assert_eq!(texts(&second), ["two", "rb"]);
    assert_ne!(before.id, second.id);
}

#[tokio::test]
async fn defect_11_old_code_is_not_run_again() {
    let fake = Fake::default();
    // The last message of the history is by the agent that runs code: there is nothing new to run.
    let history = {
        let chat = Chat {
            max_turns: Some(1),
            ..Chat::between(says("assistant", ""), runs("user", fake.clone()))
        };
        chat.run(python("print once")).await.unwrap().history
    };
    assert_eq!(fake.ran().len(), 1);
    let assistant = recites("assistant", ["no code", "still none", python("print new").as_str()]);
    let chat = Chat {
        history,
        max_turns: Some(3),
        ..Chat::between(runs("user", fake.clone()), assistant)
    };
    let result = chat.run(cellblock_agents::Opening::Nothing).await.unwrap();
    assert_eq!(fake.ran(), ["print once\n", "print new\n"], "{:?}", texts(&result));
}

#[tokio::test(flavor = "multi_thread")]
async fn defect_12_output_is_capped_and_says_how_much_is_missing() {
    let answer = local_answer(&python("print('HEAD' + 'x' * 5_000_000 + 'TAIL')")).await;
    assert!(answer.len() < 20 * 1024, "{} bytes", answer.len());
    assert!(
        answer.starts_with("exitcode: 0 (execution succeeded)\nCode output: HEADx"),
        "{}",
        &answer[..80]
    );
    assert!(answer.contains("xTAIL\n"), "{}", &answer[answer.len() - 200..]);
    assert!(
        answer.contains("bytes left out") && answer.contains("bytes of output were not kept"),
        "no word of the gap"
    );
}

#[tokio::test]
async fn defect_13_agents_that_say_nothing_are_stopped() {
    let result = Chat::between(says("a", ""), says("b", " \n")).run("").await.unwrap();
    assert_eq!(result.stop, StopReason::EmptyMessages { agent: "a".to_owned(), times: 3 });
    assert_eq!(result.history.len(), 5);
    assert!(!result.stop.is_success());
    // Control: without the guard they continue up to the maximum of automatic replies.
    let chat = Chat { max_empty: None, ..Chat::between(says("a", ""), says("b", "")) };
    assert_eq!(chat.run("").await.unwrap().history.len(), 201);
}

#[tokio::test]
async fn defect_14_each_block_is_reported() {
    let fake = Fake::default();
    let message =
        format!("{}{}{}", python("print good"), python("print bad\nexit 7"), python("print never"));
    let (events, mut heard) = cellblock_agents::event::channel();
    let chat = Chat {
        max_turns: Some(1),
        events: Some(events),
        ..Chat::between(writes::<&str>("assistant", []), runs("user", fake))
    };
    let answer = last(&chat.run(message).await.unwrap());
    assert_eq!(
        answer,
        "exitcode: 7 (execution failed)\nCode output: \n[block 0, python: exit code 0]\ngood\n\n\
         [block 1, python: exit code 7]\nbad\n\n[block 2, python: not run]\n"
    );
    let mut outcomes = Vec::new();
    while let Ok(event) = heard.try_recv() {
        if let cellblock_agents::Event::BlockFinished { report, .. } = event {
            outcomes.push(report.outcome);
        }
    }
    assert_eq!(
        outcomes,
        [Outcome::Exited { code: 0 }, Outcome::Exited { code: 7 }, Outcome::Skipped]
    );
}
