//! The two agents of a chat without a file, and what all agents share.

use std::{
    io::{self, IsTerminal as _},
    sync::Arc,
};

use anyhow::Result;
use cellblock_agents::{
    Agent, Approval, Chat, CodeExecution, HumanInputMode, Message, ModelClient, asks_for_work,
    ends_with_terminate,
};
use tokio::sync::OnceCell;

use super::{
    args::{Approve, ChatArgs},
    config::File,
};
use crate::{executors, failure::usage, session, terminal::TerminalHuman};

/// What the agents of a chat share: where code runs, and who is asked.
pub struct Stage {
    /// When the person is asked who stands behind an agent for which nothing else is said.
    pub human: HumanInputMode,
    /// The person.
    pub person: Arc<TerminalHuman>,
    args: SessionOptions,
    code: OnceCell<CodeExecution>,
}

struct SessionOptions {
    executor: String,
    choices: executors::Choices,
    code: Option<(
        cellblock_exec::SessionSpec,
        cellblock_answer::packages::InstallPolicy,
        u32,
        Approval,
    )>,
}

/// What the agent that stands for a person says when it has nothing to say.
const GO_ON: &str = "If something is left to do, go on. If all is done, answer with TERMINATE.";

/// Who an assistant is whose code nobody runs.
pub const WITHOUT_CODE: &str = "\
You answer questions and solve tasks with words. Nobody runs code for you. Be brief and exact. When you have answered and nothing \
is left to do, end your answer with the word TERMINATE.";

impl Stage {
    /// The stage that the options describe. Nothing is started.
    ///
    /// # Errors
    /// When there is no terminal for what asks, and for a session that makes no sense.
    pub fn new(args: &ChatArgs, file: &Option<File>, person: Arc<TerminalHuman>) -> Result<Self> {
        let terminal = io::stdin().is_terminal();
        let usual = match terminal && !args.json && !args.events {
            true => HumanInputMode::Terminate,
            false => HumanInputMode::Never,
        };
        let human = args.people.human.map_or(usual, HumanInputMode::from);
        let asks_for_sure = human == HumanInputMode::Always && file.is_none();
        if !terminal && (asks_for_sure || args.people.approve == Approve::Always) {
            let option = if asks_for_sure { "--human always" } else { "--approve always" };
            return Err(usage(
                format!("{option} asks at the terminal, and standard input is none"),
                "run it in a terminal, with the task as an argument, or leave the option out",
            ));
        }
        if args.session.executor != executors::AUTO {
            executors::find(&args.session.executor)?;
        }
        let code = match args.no_code {
            true => None,
            false => {
                // Nobody asks about code then, and all the same about what says itself that somebody is to be asked.
                let approval = match args.people.approve {
                    Approve::Always => Approval::Always,
                    Approve::Never => Approval::Never,
                };
                let (spec, install) =
                    (session::spec(&args.session)?, session::install(&args.session));
                Some((spec, install, args.session.retries, approval))
            }
        };
        let (executor, choices) = (args.session.executor.clone(), session::choices(&args.session));
        Ok(Self {
            human,
            person,
            args: SessionOptions { executor, choices, code },
            code: OnceCell::new(),
        })
    }

    /// Whether code is run at all.
    pub fn runs_code(&self) -> bool {
        self.args.code.is_some()
    }

    /// How code is run; the executor is started when it is needed for the first time. `None` with `--no-code`.
    ///
    /// # Errors
    /// Those of the executor's start.
    pub async fn code(&self) -> Result<Option<CodeExecution>> {
        let Some((spec, install, retries, approval)) = &self.args.code else { return Ok(None) };
        let code = self.code.get_or_try_init(async || {
            let executor = executors::start(&self.args.executor, self.args.choices.clone()).await?;
            anyhow::Ok(CodeExecution {
                session: spec.clone(),
                install: install.clone(),
                retries: *retries,
                approval: approval.clone(),
                ..CodeExecution::new(executor)
            })
        });
        Ok(Some(code.await?.clone()))
    }
}

/// A chat of a person's agent, which runs code, with an assistant.
///
/// # Errors
/// Those of the executor's start.
pub async fn pair(stage: &Stage, model: Arc<dyn ModelClient>) -> Result<Chat> {
    let code = stage.code().await?;
    let mut assistant = Agent::assistant("assistant", model);
    if code.is_none() {
        assistant.system_message = WITHOUT_CODE.to_owned();
    }
    // An answer is all that there will be where nobody runs code and nobody asks on.
    let max_turns = if code.is_none() && stage.human == HumanInputMode::Never { 1 } else { 10 };
    let user = done_when_idle(user("user", stage, code));
    let chat = Chat::between(user, assistant);
    Ok(Chat { max_turns: Some(max_turns), ..chat })
}

/// The agent that stands for the person. A message that ends with `TERMINATE` ends its chat, unless there is something in it that
/// is yet to be done: models like to say it too early.
pub fn user(name: &str, stage: &Stage, code: Option<CodeExecution>) -> Agent {
    let runs_code = stage.runs_code();
    Agent {
        is_termination: Arc::new(move |history| {
            ends_with_terminate(history)
                && history.last().is_some_and(|last| !asks_for_work(last, runs_code))
        }),
        default_reply: GO_ON.to_owned(),
        human_input: stage.human,
        human: stage.person.clone(),
        code,
        ..Agent::user_proxy(name)
    }
}

/// A user in a chat of two that ends as well when the other one was told to go on, and has nothing to be done again: small models
/// never say the word.
pub fn done_when_idle(user: Agent) -> Agent {
    let (by_word, go_on) = (user.is_termination.clone(), user.default_reply.clone());
    let runs_code = user.code.is_some();
    Agent {
        is_termination: Arc::new(move |history| {
            by_word(history) || is_idle_again(history, &go_on, runs_code)
        }),
        ..user
    }
}

/// Whether the last message says something and asks for nothing, after one that left no other answer than `go_on`.
fn is_idle_again(messages: &[Message], go_on: &str, runs_code: bool) -> bool {
    let [.., before, last] = messages else { return false };
    before.text() == go_on && !last.is_empty() && !asks_for_work(last, runs_code)
}

#[cfg(test)]
mod tests {
    use cellblock_agents::Reply;

    use super::*;

    const WITH_CODE: &str = "Here:\n```python\nprint(1)\n```\nTERMINATE";

    #[test]
    fn a_chat_ends_when_nothing_is_left_to_do() {
        for (texts, ends) in [
            (["Let me think."].as_slice(), false),
            (&["Let me think.", GO_ON, "It is 42."], true),
            (&["Let me think.", GO_ON, WITH_CODE], false),
            (&["Let me think.", GO_ON, "Saved:\n```json data.json\n{}\n```\n"], false),
            (&["Let me think.", GO_ON, "Data:\n```json\n{}\n```\n"], true),
            (&[WITH_CODE, "exitcode: 0", "Done."], false),
            (&[WITH_CODE, "exitcode: 0", "Done.", GO_ON, "Done, I said."], true),
            // Who says nothing has not said that all is done.
            (&["", GO_ON, ""], false),
            (&["Which colour?", "Blue.", "Blue it is."], false),
        ] {
            let messages: Vec<_> = texts.iter().map(|text| Message::new("a", *text)).collect();
            assert_eq!(is_idle_again(&messages, GO_ON, true), ends, "{texts:?}");
        }
        let without = [GO_ON, WITH_CODE].map(|text| Message::new("a", text));
        assert!(is_idle_again(&without, GO_ON, false), "nobody runs its code");
    }

    #[tokio::test]
    async fn a_chat_can_be_held_again() {
        let says = |text: &'static str| Reply::custom(move |_| Some(text.into()));
        let never = HumanInputMode::Never;
        let user =
            Agent { default_reply: GO_ON.to_owned(), human_input: never, ..Agent::new("user") };
        let other = Agent { replies: vec![says("It is 42.")], ..Agent::new("other") };
        let chat = Chat { max_turns: Some(10), ..Chat::between(done_when_idle(user), other) };
        for chat in [chat.clone(), chat.clone(), chat] {
            let texts: Vec<_> = chat
                .run("Add.")
                .await
                .unwrap()
                .history
                .iter()
                .map(|m| m.text().into_owned())
                .collect();
            assert_eq!(texts, ["Add.", "It is 42.", GO_ON, "It is 42."]);
        }
    }
}
