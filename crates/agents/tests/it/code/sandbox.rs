//! Sandboxes that lack a package, fail, or do not open.

use std::{sync::Arc, time::Duration};

use cellblock_agents::{Agent, Chat, CodeExecution, Event, HumanInputMode, Opening, StopReason};
use cellblock_answer::packages::InstallMode;
use cellblock_exec::{InputFile, SessionSpec};

use super::*;
use crate::{
    cast::{last, python, recites, runs, says, script, texts},
    fake::Fake,
};

#[tokio::test]
async fn what_is_missing_is_installed_before_the_model_is_asked() {
    let fake = Fake::default();
    let model = script([python("import humanize\nprint ready"), "TERMINATE".to_owned()]);
    let (events, mut heard) = cellblock_agents::event::channel();
    let chat = Chat {
        events: Some(events),
        ..Chat::between(runs("user", fake.clone()), Agent::assistant("assistant", model.clone()))
    };
    let result = chat.run("hi").await.unwrap();
    assert_eq!(result.history[2].text(), "exitcode: 0 (execution succeeded)\nCode output: ready\n");
    assert_eq!(
        (fake.installed(), fake.ran().len(), model.calls()),
        (vec!["humanize".to_owned()], 2, 2)
    );
    let mut installed = Vec::new();
    while let Ok(event) = heard.try_recv() {
        if let Event::Installed { packages, .. } = event {
            installed.extend(packages);
        }
    }
    assert_eq!(installed, ["humanize==1.0"]);
    // Control: if nothing may be installed, the model gets the reason.
    let mut code = CodeExecution::new(Arc::new(Fake::default()));
    code.install.mode = InstallMode::Never;
    let told = last(&answer_with(code, &python("import humanize")).await);
    assert!(
        told.starts_with("exitcode: 1") && told.contains("No module named 'humanize'"),
        "{told}"
    );
    assert!(
        told.contains("note: `humanize` is not installed because the install mode is `never`"),
        "{told}"
    );
}

#[tokio::test]
async fn a_lost_sandbox_is_told_and_the_chat_goes_on() {
    let fake = Fake::default();
    let assistant = recites(
        "assistant",
        [
            format!(
                "{}{}{}",
                python("write late.txt 2"),
                python("print x\nlose"),
                python("print never")
            )
            .as_str(),
            python("number\nread early.txt\nread late.txt").as_str(),
        ],
    );
    let chat = Chat { max_turns: Some(3), ..Chat::between(assistant, runs("user", fake.clone())) };
    let result = chat.run(python("add 5\nwrite early.txt 1")).await.unwrap();
    let said = texts(&result);
    assert!(said[3].starts_with("exitcode: 125 (execution failed)"), "{}", said[3]);
    assert!(
        said[3].contains("the sandbox failed: lost the session: the fake: it was told to be lost"),
        "{}",
        said[3]
    );
    assert!(said[3].contains("without earlier variables and imports"), "{}", said[3]);
    assert!(said[3].contains("[block 2, python: not run]"), "{}", said[3]);
    // A new session with the files of both messages, including the one in which the sandbox failed.
    assert_eq!(said[5], "exitcode: 0 (execution succeeded)\nCode output: 0\n12");
    assert_eq!(
        (result.stop, fake.specs().len(), fake.open_now()),
        (StopReason::MaxTurns { turns: 3 }, 2, 0)
    );
}

#[tokio::test]
async fn a_sandbox_that_does_not_open_ends_the_chat() {
    let mut code = CodeExecution::new(Arc::new(refuses::Refuses));
    code.session = SessionSpec::default();
    let result = answer_with(code, &python("print x")).await;
    let StopReason::Failed { message, causes, .. } = &result.stop else {
        panic!("{}", result.stop)
    };
    assert_eq!(
        (message.as_str(), causes[0].as_str()),
        ("the executor of `user` failed", "cannot start the sandbox")
    );
    assert_eq!(result.history.len(), 1);
}

mod refuses {
    use cellblock_exec::{Capabilities, Error, Executor, Result, Session, SessionSpec};

    /// An executor whose sandbox never starts.
    #[derive(Debug)]
    pub struct Refuses;

    #[async_trait::async_trait]
    impl Executor for Refuses {
        fn name(&self) -> &'static str {
            "refuses"
        }

        fn capabilities(&self) -> &Capabilities {
            unreachable!("nothing is run")
        }

        async fn open(&self, _: SessionSpec) -> Result<Box<dyn Session>> {
            Err(Error::Start { what: "the sandbox".to_owned(), source: "no room".into() })
        }
    }
}

#[tokio::test]
async fn files_of_the_specification_and_of_earlier_chats() {
    let file = |path: &str, text: &str| InputFile {
        path: path.to_owned(),
        content: Arc::new(text.as_bytes().to_vec()),
    };
    let fake = Fake::default();
    let session = SessionSpec {
        files: vec![file("in.txt", "in"), file("both.txt", "old")],
        ..SessionSpec::default()
    };
    let code = CodeExecution { session, ..CodeExecution::new(Arc::new(fake.clone())) };
    let first =
        answer_with(code.clone(), &python("read in.txt\nread both.txt\nwrite both.txt new")).await;
    assert_eq!(
        first.history[1].text(),
        "exitcode: 0 (execution succeeded)\nCode output: inold\nfiles: both.txt"
    );
    // A chat that continues from its messages finds its files.
    let user = Agent { code: Some(code), human_input: HumanInputMode::Never, ..Agent::new("user") };
    let assistant = says("assistant", &python("read in.txt\nread both.txt"));
    let chat =
        Chat { history: first.history, max_turns: Some(1), ..Chat::between(assistant, user) };
    let second = chat.run(Opening::Nothing).await.unwrap();
    assert_eq!(last(&second), "exitcode: 0 (execution succeeded)\nCode output: innew");
}

#[tokio::test]
async fn a_chat_that_is_dropped_ends_its_code() {
    let fake = Fake::default();
    let chat = Chat::between(says("a", ""), runs("user", fake.clone()));
    let running = tokio::spawn(async move { chat.run(python("wait")).await });
    while fake.waiting() == 0 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    assert_eq!((fake.waiting(), fake.open_now()), (0, 0));
}
