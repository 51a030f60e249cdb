//! Chats that are saved and resumed: nothing is lost, and nothing that began is done twice.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use cellblock_agents::{
    Agent, Chat, ChatResult, CodeExecution, Decision, Error, Human, HumanInputMode, Message, ModelMessage, Opening,
    Proposal, Question, Speakers, StopReason, ends_with_terminate, tool,
};
use cellblock_models::{Answer, Scripted};
use proptest::prelude::*;

use crate::{
    cast::{last, names, python, runs, says, texts},
    fake::Fake,
};

/// What a run of the chat below did.
#[derive(Debug, Clone, Default)]
struct Deeds {
    fake: Fake,
    tools: Arc<Mutex<Vec<i64>>>,
}

impl Deeds {
    /// How often each piece of code and each tool call was made.
    fn counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        let calls = self.tools.lock().unwrap().iter().map(|number| format!("call {number}")).collect::<Vec<_>>();
        for deed in self.fake.ran().into_iter().chain(calls) {
            *counts.entry(deed).or_default() += 1;
        }
        counts
    }
}

/// A person whose answers only depend on the question, so that a question that is asked again gets the same answer.
#[derive(Debug)]
struct Person;

#[async_trait]
impl Human for Person {
    async fn reply(&self, question: &Question) -> std::io::Result<String> {
        Ok(if question.message.text().starts_with("First") { "one more thing" } else { "exit" }.to_owned())
    }

    async fn approve(&self, _: &Proposal) -> std::io::Result<Decision> {
        Ok(Decision::Approve)
    }
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Number {
    number: i64,
}

/// A chat with code, files, a tool, a person, and what is asked of the model: its answer only depends on how often it spoke.
fn chat(log: &Path, deeds: &Deeds) -> Chat {
    let calls = |number: i64| Answer::call("count", format!(r#"{{"number":{number}}}"#));
    let model = Scripted::with(move |request| {
        let spoke = request.messages.iter().filter(|message| matches!(message, ModelMessage::Assistant { .. })).count();
        match spoke {
            0 => python("print one").into(),
            1 => calls(1),
            2 => python("write f.txt data\nprint two").into(),
            3 => python("read f.txt").into(),
            4 => "First part. TERMINATE".into(),
            5 => calls(2),
            6 => "Second part. TERMINATE".into(),
            _ => Answer::Text(format!("too much: {spoke}")),
        }
    })
    .cost(0.01);
    let counted = deeds.tools.clone();
    let count = tool::function("count", "Counts.", move |Number { number }| {
        counted.lock().unwrap().push(number);
        async move { Ok::<_, String>(number) }
    });
    let assistant = Agent { tools: vec![Arc::new(count)], ..Agent::assistant("assistant", Arc::new(model)) };
    let user = Agent {
        human: Arc::new(Person),
        human_input: HumanInputMode::Terminate,
        is_termination: Arc::new(ends_with_terminate),
        ..runs("user", deeds.fake.clone())
    };
    Chat { log: Some(log.to_owned()), max_turns: Some(20), ..Chat::between(user, assistant) }
}

/// The messages of the whole chat: the opening, seven of the assistant, and six answers to them.
const LENGTH: usize = 14;

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

/// What whole lines of a log tell: messages, and what began.
fn told(log: &[u8]) -> (Vec<Message>, BTreeMap<String, usize>) {
    let mut messages: Vec<Message> = Vec::new();
    let mut began = BTreeMap::new();
    for line in log.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n")) {
        let line: serde_json::Value = serde_json::from_slice(line).unwrap();
        if let Some(message) = line.get("message") {
            messages.push(serde_json::from_value(message.clone()).unwrap());
        } else if let Some(begun) = line.get("begun") {
            let newest = messages.last().unwrap();
            let deed = match begun.as_object().unwrap().keys().next().unwrap().as_str() {
                "code" => cellblock_exec::code_blocks(&newest.text())[0].code.clone(),
                "tools" => {
                    let number: Number = serde_json::from_str(&newest.tool_calls[0].arguments).unwrap();
                    format!("call {}", number.number)
                }
                other => panic!("{other}"),
            };
            *began.entry(deed).or_default() += 1;
        }
    }
    (messages, began)
}

/// Resumes a chat from the first bytes of a log and asserts all that is promised. Gives the file that it is saved in then.
async fn resume(directory: &Path, log: &[u8]) -> Option<PathBuf> {
    let path = directory.join(format!("cut-{}.jsonl", uuid()));
    std::fs::write(&path, log).unwrap();
    let deeds = Deeds::default();
    let (messages, began) = told(log);
    let result = chat(&path, &deeds).resume().await;
    if messages.is_empty() {
        let error = result.unwrap_err();
        assert!(matches!(error, Error::Log { .. }), "{error}");
        return None;
    }
    let result = result.unwrap();
    // Content of files is no part of the JSON that `told` reads.
    let said = |message: &Message| (message.name.clone(), message.content.clone(), message.tool_results.clone());
    let before: Vec<_> = messages.iter().map(said).collect();
    let all: Vec<_> = result.history.iter().map(said).collect();
    assert!(all.starts_with(&before), "the history is no prefix: {before:?} {all:?}");
    assert_eq!(result.history.len(), LENGTH, "{:?} {}", texts(&result), result.stop);
    assert_eq!(result.stop, StopReason::Human { agent: "user".to_owned() });
    assert_eq!(result.summary, "Second part. ");
    let ran = deeds.counts();
    for deed in ["print one\n", "call 1", "write f.txt data\nprint two\n", "read f.txt\n", "call 2"] {
        let (began, ran) = (began.get(deed).copied().unwrap_or(0), ran.get(deed).copied().unwrap_or(0));
        assert_eq!(began + ran, 1, "{deed:?} began {began} times before and ran {ran} times after");
    }
    // Files of earlier blocks are there, unless the block that makes them was the one cut off.
    let wrote = texts(&result).iter().any(|text| text.contains("files: f.txt"));
    let read = texts(&result).iter().any(|text| text.ends_with("Code output: data"));
    let cut_off = texts(&result).iter().any(|text| text.contains("was not run again"));
    assert!(cut_off || (wrote && read), "{:?}", texts(&result));
    let spoken: Vec<_> = result.human_input.iter().filter(|text| *text != "exit").collect();
    assert_eq!(spoken, ["one more thing"]);
    let cents = (result.cost.excluding_cached.total_cost * 100.0).round();
    assert!((7.0..=8.0).contains(&cents), "seven calls, and at most one that was lost: {cents}");
    // What is saved now is the whole chat.
    let (saved, _) = told(&self::read(&path));
    assert_eq!(saved.iter().map(said).collect::<Vec<_>>(), all);
    Some(path)
}

fn uuid() -> u128 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    u128::from(NEXT.fetch_add(1, Ordering::Relaxed))
}

async fn whole(directory: &Path) -> (ChatResult, Vec<u8>) {
    let path = directory.join("whole.jsonl");
    let deeds = Deeds::default();
    let result = chat(&path, &deeds).run("Begin.").await.unwrap();
    assert_eq!(result.history.len(), LENGTH, "{:?}", texts(&result));
    assert_eq!(deeds.counts().values().sum::<usize>(), 5);
    (result, read(&path))
}

#[tokio::test]
async fn a_chat_is_saved_after_every_message() {
    let directory = tempfile::tempdir().unwrap();
    let (result, log) = whole(directory.path()).await;
    let (messages, began) = told(&log);
    assert_eq!(messages.len(), result.history.len());
    assert_eq!(began.len(), 5);
    // Only the user may read it.
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(directory.path().join("whole.jsonl")).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
}

/// The process may end at any byte of the file.
#[tokio::test]
async fn a_chat_goes_on_from_wherever_it_was_cut() {
    let directory = tempfile::tempdir().unwrap();
    let (_, log) = whole(directory.path()).await;
    let ends: Vec<usize> = (0..=log.len()).filter(|at| *at == 0 || log[at - 1] == b'\n').collect();
    assert!(ends.len() > 20, "{ends:?}");
    let mut resumed = 0;
    for pair in ends.windows(2) {
        // At the line's beginning, in its first and last bytes, and in its middle.
        let (from, to) = (pair[0], pair[1]);
        let mut cuts = vec![from, from + 1, (from + to) / 2, to - 2, to - 1];
        cuts.dedup();
        for at in cuts {
            resumed += usize::from(resume(directory.path(), &log[..at]).await.is_some());
        }
    }
    resume(directory.path(), &log).await.unwrap();
    assert!(resumed > 80, "{resumed}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// It may end again while it goes on.
    #[test]
    fn a_chat_goes_on_after_two_cuts(one in 0.0..1.0_f64, two in 0.0..1.0_f64) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            let directory = tempfile::tempdir().unwrap();
            let (_, log) = whole(directory.path()).await;
            let cut = |log: &[u8], share: f64| log[..(log.len() as f64 * share) as usize].to_vec();
            if let Some(path) = resume(directory.path(), &cut(&log, one)).await {
                resume(directory.path(), &cut(&read(&path), two)).await;
            }
        });
    }
}

fn pair(log: &Path) -> Chat {
    Chat { log: Some(log.to_owned()), max_turns: Some(2), ..Chat::between(says("a", "ra"), says("b", "rb")) }
}

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
        assert!(text.contains("this is no saved chat"), "{other:?}: {text}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), other, "a file that is not ours was changed");
    }
    std::fs::write(&path, "{\"cellblock_chat\":2,\"id\":\"x\",\"agents\":[\"a\",\"b\"]}\n").unwrap();
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
    // Control: the same agents go on, if they have turns left.
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
    assert!(text.contains("there is a file already; resume it, or name another one"), "{text}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
    let nowhere = pair(&directory.path().join("no/such/directory.jsonl"));
    assert!(matches!(nowhere.run("hi").await.unwrap_err(), Error::Log { .. }));
}

#[tokio::test]
async fn two_do_not_go_on_with_the_same_chat() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("chat.jsonl");
    let model = Arc::new(Scripted::with(|_| "late").delay(std::time::Duration::from_secs(600)));
    let chat = Chat {
        log: Some(path.clone()),
        ..Chat::between(says("a", "ra"), Agent::assistant("b", model.clone()))
    };
    let (first, second) = (chat.clone(), chat.clone());
    let running = tokio::spawn(async move { first.run("hi").await.unwrap() });
    while model.calls() == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    assert!(refused(&second).await.contains("somebody else goes on with this chat right now"));
    chat.cancel.cancel();
    assert_eq!(running.await.unwrap().stop, StopReason::Cancelled);
    // Control: when it is over, another may.
    let resumed = Chat { cancel: Default::default(), max_turns: Some(1), ..second };
    let resumed = Chat { agents: vec![says("a", "ra"), says("b", "rb")], ..resumed };
    assert_eq!(texts(&resumed.resume().await.unwrap()), ["hi", "rb"]);
}

#[tokio::test]
async fn limits_go_on_with_the_chat() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("chat.jsonl");
    let limited = |turns, order: [&str; 2]| {
        let agents = order.map(|name| Agent { max_consecutive_auto_replies: 3, ..says(name, &format!("r{name}")) });
        Chat { agents: agents.to_vec(), log: Some(path.clone()), max_turns: turns, ..Chat::between(says("a", ""), says("b", "")) }
    };
    assert_eq!(limited(Some(2), ["a", "b"]).run("hi").await.unwrap().history.len(), 4);
    // b has answered twice, and answers once more, in whatever order the agents are given now.
    let result = limited(None, ["b", "a"]).resume().await.unwrap();
    assert_eq!(result.stop, StopReason::MaxAutoReplies { agent: "b".to_owned() });
    assert_eq!(names(&result), ["a", "b", "a", "b", "a", "b", "a"]);
}

#[tokio::test]
async fn messages_that_came_before_do_not_count_as_turns_after_a_resume() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("chat.jsonl");
    let history: Vec<_> = (0..6).map(|number| Message::new(["a", "b"][number % 2], format!("old {number}"))).collect();
    let chat = Chat { history, ..pair(&path) };
    assert_eq!(chat.run("hi").await.unwrap().history.len(), 10);
    let log = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = log.split_inclusive('\n').collect();
    // Cut after the opening and one answer; after the opening; before the opening; in the old messages.
    for (kept, length) in [(9, Some(10)), (8, Some(10)), (7, None), (4, None)] {
        std::fs::write(&path, lines[..kept].concat()).unwrap();
        match (chat.resume().await, length) {
            (Ok(result), Some(length)) => assert_eq!(result.history.len(), length, "{kept}"),
            (Err(error), None) => assert!(cellblock_exec::with_causes(&error).contains("nothing was said")),
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

/// A group in which whoever chooses would choose otherwise after the crash.
#[tokio::test]
async fn who_was_interrupted_says_so_whoever_is_next() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("chat.jsonl");
    let group = |fake: &Fake, order: [&'static str; 3]| {
        let choose = move |messages: &[Message], _: &[&str]| order.get(messages.len() - 1).map(|name| (*name).to_owned());
        Chat {
            log: Some(path.clone()),
            speakers: Speakers::Custom(Arc::new(choose)),
            ..Chat::group(vec![says("coder", "hm"), runs("runner", fake.clone()), says("critic", "I see.")])
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

/// Code that nobody has run yet when the chat is cut is run afterwards, though others have spoken since.
#[tokio::test]
async fn code_that_waits_for_its_turn_is_not_lost() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("chat.jsonl");
    let group = |fake: &Fake| Chat {
        log: Some(path.clone()),
        max_turns: Some(4),
        speakers: Speakers::RoundRobin,
        ..Chat::group(vec![says("coder", "done"), says("critic", "fine"), runs("runner", fake.clone())])
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
        let inner = cellblock_agents::NestedChat { max_turns: Some(1), ..cellblock_agents::NestedChat::new(runs("inner", fake.clone())) };
        let nested = vec![cellblock_agents::Nested { trigger: cellblock_agents::Trigger::Any, chats: vec![inner] }];
        let agent = Agent { nested, ..says("agent", "") };
        Chat { log: Some(path.clone()), max_turns: Some(1), ..Chat::between(says("user", ""), agent) }
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
    assert!(last(&result).contains("not held again"), "{:?}", texts(&result));
}

/// What an agent forgot stays forgotten, and named files of blocks are there.
#[tokio::test]
async fn what_was_cleared_and_what_was_saved() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("chat.jsonl");
    let model = Arc::new(Scripted::with(|request| format!("I see {} messages", request.messages.len())));
    let group = |turns| {
        let human = Arc::new(cellblock_agents::ScriptedHuman::new(["clear history writer"]));
        let user = Agent { human, human_input: HumanInputMode::Always, ..says("user", "") };
        Chat {
            log: Some(path.clone()),
            max_turns: Some(turns),
            speakers: Speakers::RoundRobin,
            ..Chat::group(vec![says("starter", "more"), user, Agent::assistant("writer", model.clone())])
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
    chat(1, "").run(python("# filename: lib/part.py\nwrite empty.txt\nwrite gone.txt 1")).await.unwrap();
    let result = chat(2, "read lib/part.py\nread empty.txt\nread gone.txt").resume().await.unwrap();
    let output = "# filename: lib/part.py\nwrite empty.txt\nwrite gone.txt 1\n1";
    assert_eq!(last(&result), format!("exitcode: 0 (execution succeeded)\nCode output: {output}"));
    let files: Vec<_> = fake.specs()[1].files.iter().map(|file| file.path.clone()).collect();
    assert_eq!(files, ["empty.txt", "gone.txt", "lib/part.py"]);
}

/// The agent of a code execution is the one whose files it gets.
#[tokio::test]
async fn each_agent_gets_its_own_files() {
    let history = {
        let chat = Chat { max_turns: Some(1), ..Chat::between(says("a", ""), runs("one", Fake::default())) };
        chat.run(python("write one.txt 1")).await.unwrap().history
    };
    for (name, expected) in [("one", 1), ("two", 0)] {
        let fake = Fake::default();
        let agents = vec![says("a", &python("print x")), runs("one", Fake::default()), runs("two", Fake::default())];
        let mut chat = Chat {
            history: history.clone(),
            max_turns: Some(2),
            speakers: Speakers::Custom({
                let name = name.to_owned();
                Arc::new(move |messages: &[Message], _: &[&str]| {
                    Some(if messages.last().unwrap().name == "a" { name.clone() } else { "a".to_owned() })
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
