//! A chat that is cut off at any byte can be resumed.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use cellblock_agents::scripted::{ScriptedAnswer, ScriptedModel};
use cellblock_agents::{
    Agent, Chat, ChatResult, Decision, Error, Human, HumanInputMode, Message, ModelMessage,
    Proposal, Question, StopReason, ends_with_terminate, tool,
};
use proptest::prelude::*;

use crate::{
    cast::{python, runs, texts},
    fake::Fake,
};

/// The effects of a run of the chat below.
#[derive(Debug, Clone, Default)]
struct Deeds {
    fake: Fake,
    tools: Arc<Mutex<Vec<i64>>>,
}

impl Deeds {
    /// The number of runs of each piece of code and of each tool call.
    fn counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        let calls = self
            .tools
            .lock()
            .unwrap()
            .iter()
            .map(|number| format!("call {number}"))
            .collect::<Vec<_>>();
        for deed in self.fake.ran().into_iter().chain(calls) {
            *counts.entry(deed).or_default() += 1;
        }
        counts
    }
}

/// A person whose answers only depend on the question, so that a repeated question gets the same
/// answer.
#[derive(Debug)]
struct Person;

#[async_trait]
impl Human for Person {
    async fn reply(&self, question: &Question) -> std::io::Result<String> {
        Ok(if question.message.text().starts_with("First") { "one more thing" } else { "exit" }
            .to_owned())
    }

    async fn approve(&self, _: &Proposal) -> std::io::Result<Decision> {
        Ok(Decision::Approve)
    }
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Number {
    number: i64,
}

/// A chat with code, files, a tool and a person. The model's answer only depends on the number of
/// its earlier answers.
fn chat(log: &Path, deeds: &Deeds) -> Chat {
    let calls = |number: i64| ScriptedAnswer::call("count", format!(r#"{{"number":{number}}}"#));
    let model = ScriptedModel::with(move |request| {
        let spoke = request
            .messages
            .iter()
            .filter(|message| matches!(message, ModelMessage::Assistant { .. }))
            .count();
        match spoke {
            0 => python("print one").into(),
            1 => calls(1),
            2 => python("write f.txt data\nprint two").into(),
            3 => python("read f.txt").into(),
            4 => "First part. TERMINATE".into(),
            5 => calls(2),
            6 => "Second part. TERMINATE".into(),
            _ => ScriptedAnswer::Text(format!("too much: {spoke}")),
        }
    })
    .cost(0.01);
    let counted = deeds.tools.clone();
    let count = tool::function("count", "Counts.", move |Number { number }| {
        counted.lock().unwrap().push(number);
        async move { Ok::<_, String>(number) }
    });
    let assistant =
        Agent { tools: vec![Arc::new(count)], ..Agent::assistant("assistant", Arc::new(model)) };
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

/// The content of the whole lines of a log: messages, and started work.
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
                "code" => cellblock_answer::code_blocks(&newest.text())[0].code.clone(),
                "tools" => {
                    let number: Number =
                        serde_json::from_str(&newest.tool_calls[0].arguments).unwrap();
                    format!("call {}", number.number)
                }
                other => panic!("{other}"),
            };
            *began.entry(deed).or_default() += 1;
        }
    }
    (messages, began)
}

/// Resumes a chat from the first bytes of a log and asserts all promises for that number of cuts.
/// Returns the content of its file.
async fn resume(directory: &Path, log: &[u8], cuts: u32) -> Option<PathBuf> {
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
    // The content of files is not a part of the JSON that `told` reads.
    let said = |message: &Message| {
        (message.name.clone(), message.content.clone(), message.tool_results.clone())
    };
    let before: Vec<_> = messages.iter().map(said).collect();
    let all: Vec<_> = result.history.iter().map(said).collect();
    assert!(all.starts_with(&before), "the history is no prefix: {before:?} {all:?}");
    assert_eq!(result.history.len(), LENGTH, "{:?} {}", texts(&result), result.stop);
    assert_eq!(result.stop, StopReason::Human { agent: "user".to_owned() });
    assert_eq!(result.summary, "Second part. ");
    let ran = deeds.counts();
    for deed in ["print one\n", "call 1", "write f.txt data\nprint two\n", "read f.txt\n", "call 2"]
    {
        let (began, ran) =
            (began.get(deed).copied().unwrap_or(0), ran.get(deed).copied().unwrap_or(0));
        assert_eq!(began + ran, 1, "{deed:?} began {began} times before and ran {ran} times after");
    }
    // Files of earlier blocks exist, unless the block that creates them was cut off.
    let wrote = texts(&result).iter().any(|text| text.contains("files: f.txt"));
    let read = texts(&result).iter().any(|text| text.ends_with("Code output: data"));
    let cut_off = texts(&result).iter().any(|text| text.contains("was not run again"));
    assert!(cut_off || (wrote && read), "{:?}", texts(&result));
    let spoken: Vec<_> = result.human_input.iter().filter(|text| *text != "exit").collect();
    assert_eq!(spoken, ["one more thing"]);
    let cents = (result.cost.excluding_cached.total_cost * 100.0).round();
    assert!(
        (7.0..=f64::from(7 + cuts)).contains(&cents),
        "seven calls, and at most one lost by each cut: {cents}"
    );
    // The file now has the whole chat.
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
        // At the start of the line, in its first and last bytes, and in its middle.
        let (from, to) = (pair[0], pair[1]);
        let mut cuts = vec![from, from + 1, (from + to) / 2, to - 2, to - 1];
        cuts.dedup();
        for at in cuts {
            resumed += usize::from(resume(directory.path(), &log[..at], 1).await.is_some());
        }
    }
    resume(directory.path(), &log, 0).await.unwrap();
    assert!(resumed > 80, "{resumed}");
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 40,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// The process may end again after it has resumed.
    #[test]
    fn a_chat_goes_on_after_two_cuts(one in 0.0..1.0_f64, two in 0.0..1.0_f64) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            let directory = tempfile::tempdir().unwrap();
            let (_, log) = whole(directory.path()).await;
            let cut = |log: &[u8], share: f64| log[..(log.len() as f64 * share) as usize].to_vec();
            if let Some(path) = resume(directory.path(), &cut(&log, one), 1).await {
                resume(directory.path(), &cut(&read(&path), two), 2).await;
            }
        });
    }
}
