//! Events before the message that reports them: calls from code, costs of nested chats, and
//! sandboxes that do not open.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use cellblock_agents::scripted::{ScriptedAnswer, ScriptedModel};
use cellblock_agents::{Agent, CodeExecution, ToolCall, team::director, tool};
use cellblock_exec::{Capabilities, Error, Executor, Session, SessionSpec};

use super::*;
use crate::{
    cast::{last, python, runs, script, texts},
    fake::Fake,
};

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Amount {
    amount: i64,
}

/// A chat whose code pays with a tool; the tool reads the log while it is called.
fn paying(
    log: &Path,
    program: &str,
    seen: Arc<std::sync::Mutex<Vec<String>>>,
    fake: &Fake,
) -> Chat {
    let path = log.to_owned();
    let pay = tool::function("pay", "Pays.", move |Amount { amount }| {
        seen.lock().unwrap().push(std::fs::read_to_string(&path).unwrap());
        async move { Ok::<_, String>(amount) }
    });
    let code =
        CodeExecution { tools: vec![Arc::new(pay)], ..CodeExecution::new(Arc::new(fake.clone())) };
    let user = Agent { code: Some(code), ..says("user", "") };
    let chat = Chat::between(user, Agent::assistant("assistant", script([python(program)])));
    Chat { log: Some(log.to_owned()), max_turns: Some(2), ..chat }
}

/// Cuts a log after the first line that contains a text.
fn cut_behind(path: &Path, words: &str) -> String {
    let log = std::fs::read_to_string(path).unwrap();
    let at = log.find(words).unwrap_or_else(|| panic!("{words}: {log}"));
    log[..at + log[at..].find('\n').unwrap() + 1].to_owned()
}

#[tokio::test]
async fn a_call_out_of_code_is_saved_before_it_is_made() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("chat.jsonl");
    let (seen, fake) = (Arc::default(), Fake::default());
    let program = "call pay {\"amount\":5}\ncall pay {\"amount\":7}";
    let result = paying(&path, program, Arc::clone(&seen), &fake).run("hi").await.unwrap();
    assert_eq!(result.tool_calls.len(), 2);
    let seen = seen.lock().unwrap().clone();
    let line = r#"{"calling":{"agent":"user","name":"pay","arguments":"{\"amount\":5}"}}"#;
    assert!(seen[0].ends_with(&format!("{line}\n")), "{}", seen[0]);
    assert!(
        seen[1].contains("\"answer\":\"5\"")
            && seen[1].trim_end().ends_with(r#"{\"amount\":7}"}}"#),
        "{}",
        seen[1]
    );
    // Killed in the second call: the resumed chat knows both, and repeats none.
    for twice in [false, true] {
        let again = directory.path().join(format!("again-{twice}.jsonl"));
        std::fs::write(&again, &seen[1]).unwrap();
        let (calls, fake) = (Arc::default(), Fake::default());
        let chat = paying(&again, "print x", Arc::clone(&calls), &fake);
        let mut result = chat.resume().await.unwrap();
        if twice {
            // Killed again, before the message that reports it.
            let first = cut_behind(&again, "interrupted during this call");
            assert!(!first.contains("was not run again"), "{first}");
            std::fs::write(&again, first).unwrap();
            result = chat.resume().await.unwrap();
        }
        assert!(fake.ran().len() <= 1 && calls.lock().unwrap().is_empty());
        let told = result
            .history
            .iter()
            .map(|message| message.text())
            .find(|text| text.contains("was not run again"));
        assert!(
            told.as_ref()
                .is_some_and(|told| told.ends_with("note: it had begun to call pay (2 times)")),
            "{told:?}"
        );
        let records: Vec<_> = result
            .tool_calls
            .iter()
            .map(|call| (call.arguments.as_str(), call.is_error, call.from_code))
            .collect();
        assert_eq!(records, [(r#"{"amount":5}"#, false, true), (r#"{"amount":7}"#, true, true)]);
        assert!(
            result.tool_calls[1].answer.contains("may have had its effect"),
            "{:?}",
            result.tool_calls[1]
        );
    }
}

#[tokio::test]
async fn thousands_of_calls_do_not_fill_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("chat.jsonl");
    let many = "call length {\"text\":\"a\"}\n".repeat(3000);
    #[derive(serde::Deserialize, schemars::JsonSchema)]
    struct Text {
        text: String,
    }
    let length =
        tool::function(
            "length",
            "Counts.",
            |Text { text }| async move { Ok::<_, String>(text.len()) },
        );
    let code = CodeExecution {
        tools: vec![Arc::new(length)],
        ..CodeExecution::new(Arc::new(Fake::default()))
    };
    let user = Agent { code: Some(code), ..says("user", "") };
    let chat = Chat::between(user, Agent::assistant("assistant", script([python(&many)])));
    let result =
        Chat { log: Some(path.clone()), max_turns: Some(2), ..chat }.run("hi").await.unwrap();
    assert_eq!(result.tool_calls.len(), 1000);
    let log = std::fs::read_to_string(&path).unwrap();
    assert_eq!(
        (log.matches("{\"calling\"").count(), log.matches("{\"tool\"").count()),
        (1000, 1000)
    );
    // All of them have ended when the message is saved.
    let cut = cut_behind(&path, "more tool calls are not in the record");
    std::fs::write(&path, cut).unwrap();
    let result = pair_of(&path).resume().await.unwrap();
    assert_eq!(result.tool_calls.len(), 1000);
}

fn pair_of(path: &Path) -> Chat {
    Chat {
        log: Some(path.to_owned()),
        max_turns: Some(2),
        ..Chat::between(says("user", ""), says("assistant", "end"))
    }
}

/// Costs of nested chats are known after a crash at any time.
#[tokio::test]
async fn what_members_spend_is_saved_when_they_spend_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("chat.jsonl");
    let seen = Arc::new(std::sync::Mutex::new(String::new()));
    let team = |log: &Path| {
        let (read, seen) = (log.to_owned(), seen.clone());
        // It works for two answers, and reads the log before the second one.
        let member = ScriptedModel::with(move |request| match request.messages.len() {
            1 => ScriptedAnswer::call("nothing", "{}"),
            _ => {
                *seen.lock().unwrap() = std::fs::read_to_string(&read).unwrap();
                "done".into()
            }
        });
        let member = Agent::assistant("member", Arc::new(member.cost(0.25)));
        let calls = vec![ToolCall {
            id: "1".into(),
            name: "ask_member".into(),
            arguments: r#"{"task":"t"}"#.into(),
        }];
        let boss = ScriptedModel::with(move |request| match request.messages.len() {
            1 => ScriptedAnswer::Calls(String::new(), calls.clone()),
            _ => "TERMINATE".into(),
        });
        let boss = director("boss", Arc::new(boss), [member]);
        Chat {
            log: Some(log.to_owned()),
            max_turns: Some(3),
            ..Chat::between(says("user", ""), boss)
        }
    };
    let whole = team(&path).run("hi").await.unwrap();
    assert_eq!(whole.cost.excluding_cached.total_cost, 0.5);
    let log = seen.lock().unwrap().clone();
    assert!(log.contains("\"total_cost\":0.25") && !log.contains("\"tool_results\""), "{log}");
    // Killed there: the call is not repeated, and its cost is not lost.
    let again = directory.path().join("again.jsonl");
    std::fs::write(&again, log).unwrap();
    let result = team(&again).resume().await.unwrap();
    assert_eq!(result.cost.excluding_cached.total_cost, 0.25);
    assert!(
        result.history[2].tool_results[0].content.contains("was not made again"),
        "{:?}",
        texts(&result)
    );
}

/// An executor whose sessions do not open while it is broken.
#[derive(Debug, Default)]
struct Closed {
    broken: AtomicBool,
    fake: Fake,
}

#[async_trait]
impl Executor for Closed {
    fn name(&self) -> &'static str {
        "closed"
    }

    fn capabilities(&self) -> &Capabilities {
        self.fake.capabilities()
    }

    async fn open(&self, spec: SessionSpec) -> cellblock_exec::Result<Box<dyn Session>> {
        match self.broken.load(Ordering::SeqCst) {
            true => Err(Error::Lost {
                what: "the closed executor".into(),
                source: "it does not open".into(),
            }),
            false => self.fake.open(spec).await,
        }
    }
}

/// Code whose sandbox never opened had no effect: it runs when the chat is resumed.
#[tokio::test]
async fn code_that_never_began_runs_when_the_chat_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("chat.jsonl");
    let executor = Arc::new(Closed::default());
    executor.broken.store(true, Ordering::SeqCst);
    let chat = || {
        let user = Agent { code: Some(CodeExecution::new(executor.clone())), ..says("user", "") };
        Chat {
            log: Some(path.clone()),
            max_turns: Some(1),
            ..Chat::between(says("other", ""), user)
        }
    };
    let result = chat().run(python("print once")).await.unwrap();
    assert!(!result.stop.is_success() && result.history.len() == 1, "{}", result.stop);
    executor.broken.store(false, Ordering::SeqCst);
    let result = chat().resume().await.unwrap();
    assert_eq!(last(&result), "exitcode: 0 (execution succeeded)\nCode output: once\n");
    assert_eq!(executor.fake.ran().len(), 1);
    // Control: started code is not run again.
    let cut = cut_behind(&path, "{\"begun\"");
    std::fs::write(&path, cut).unwrap();
    assert!(last(&chat().resume().await.unwrap()).contains("was not run again"));
    assert_eq!(executor.fake.ran().len(), 1);
}

/// Human input of a nested chat is restored when the outer chat is resumed.
#[tokio::test]
async fn what_people_said_below_is_saved() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("chat.jsonl");
    let chat = || {
        let human = Arc::new(cellblock_agents::ScriptedHuman::new(["my words"]));
        let inner = Agent {
            human,
            human_input: cellblock_agents::HumanInputMode::Always,
            ..runs("inner", Fake::default())
        };
        let nested = vec![cellblock_agents::NestedChats {
            trigger: cellblock_agents::Trigger::Any,
            chats: vec![cellblock_agents::NestedChat::new(inner)],
        }];
        let agent = Agent { nested, ..says("agent", "") };
        Chat {
            log: Some(path.clone()),
            max_turns: Some(1),
            ..Chat::between(says("user", ""), agent)
        }
    };
    let result = chat().run("hi").await.unwrap();
    assert_eq!(
        (last(&result).as_str(), &result.human_input[..]),
        ("my words", &["inner: my words".to_owned()][..])
    );
    assert_eq!(chat().resume().await.unwrap().human_input, result.human_input);
}

/// A dropped chat can be resumed, even while a tool still holds its context.
#[tokio::test]
async fn a_log_is_closed_with_its_chat() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("chat.jsonl");
    let held = Arc::new(std::sync::Mutex::new(Vec::new()));
    let spec = tool::function("hold", "Holds.", |(): ()| async { Ok::<_, String>(()) }).spec;
    let (keeps, (entered, mut waits)) = (held.clone(), tokio::sync::mpsc::unbounded_channel());
    let hold = tool::function_with_spec(spec, move |_, caller| {
        keeps.lock().unwrap().push(caller.context);
        entered.send(()).unwrap();
        std::future::pending()
    });
    let model = ScriptedModel::with(|_| ScriptedAnswer::call("hold", "null"));
    let assistant =
        Agent { tools: vec![Arc::new(hold)], ..Agent::assistant("assistant", Arc::new(model)) };
    let chat = Chat { log: Some(path.clone()), ..Chat::between(says("user", ""), assistant) };
    tokio::select! {
        result = chat.run("hi") => panic!("{result:?}"),
        _ = waits.recv() => {}
    }
    assert_eq!(held.lock().unwrap().len(), 1);
    // The interrupted call is reported, and the next one is the same: the chat is dropped once
    // more.
    tokio::select! {
        result = chat.resume() => panic!("{result:?}"),
        _ = waits.recv() => {}
    }
    assert!(std::fs::read_to_string(&path).unwrap().contains("was not made again"));
}
