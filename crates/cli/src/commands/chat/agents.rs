//! The two agents of a chat without a file, and what all agents share.

use std::{
    io::{self, IsTerminal as _},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::Result;
use async_trait::async_trait;
use cellblock_agents::{
    Agent, Approval, Chat, CodeExecution, Decision, Human, HumanInputMode, Message, ModelClient, Predicate, Proposal,
    Question, ends_with_terminate,
};
use cellblock_exec::{code_blocks, packages::InstallMode};
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
    code: Option<(cellblock_exec::SessionSpec, cellblock_exec::packages::InstallPolicy, u32, Approval)>,
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
                let approval = approval(args.people.approve, args.session.install, terminal, &person);
                let (spec, install) = (session::spec(&args.session)?, session::install(&args.session));
                Some((spec, install, args.session.retries, approval))
            }
        };
        let (executor, choices) = (args.session.executor.clone(), session::choices(&args.session));
        Ok(Self { human, person, args: SessionOptions { executor, choices, code }, code: OnceCell::new() })
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

/// Who has to agree to what. The person by name and not whoever is behind an agent: nobody is behind the members of a team.
fn approval(approve: Approve, install: InstallMode, terminal: bool, person: &Arc<TerminalHuman>) -> Approval {
    match (approve, install) {
        (Approve::Always, _) => Approval::Human(person.clone()),
        (Approve::Never, InstallMode::Ask) if terminal => Approval::Human(Arc::new(OnlyPackages(person.clone()))),
        _ => Approval::Never,
    }
}

/// A person who is asked about packages alone.
#[derive(Debug)]
struct OnlyPackages(Arc<TerminalHuman>);

#[async_trait]
impl Human for OnlyPackages {
    async fn reply(&self, question: &Question) -> io::Result<String> {
        self.0.reply(question).await
    }

    async fn approve(&self, proposal: &Proposal) -> io::Result<Decision> {
        match proposal {
            Proposal::Packages { .. } => self.0.approve(proposal).await,
            _ => Ok(Decision::Approve),
        }
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
    let user = Agent { is_termination: is_done(), ..user("user", stage, code) };
    let chat = Chat::between(user, assistant);
    Ok(Chat { max_turns: Some(max_turns), ..chat })
}

/// The agent that stands for the person. A message that ends with `TERMINATE` ends its chat, unless there is code in it that is
/// yet to be run: models like to say it too early.
pub fn user(name: &str, stage: &Stage, code: Option<CodeExecution>) -> Agent {
    Agent {
        is_termination: Arc::new(|message| is_idle(message) && ends_with_terminate(message)),
        default_reply: GO_ON.to_owned(),
        human_input: stage.human,
        human: stage.person.clone(),
        code,
        ..Agent::user_proxy(name)
    }
}

/// The same rule between two, and besides: the second message in a row that leaves nothing to do, for small models never say
/// the word.
pub fn is_done() -> Predicate {
    let was_idle = AtomicBool::new(false);
    Arc::new(move |message: &Message| {
        let idle = is_idle(message);
        let again = was_idle.swap(idle, Ordering::Relaxed);
        idle && (again || ends_with_terminate(message))
    })
}

/// Whether a message has nothing to run.
fn is_idle(message: &Message) -> bool {
    let is_program =
        |block: &cellblock_exec::CodeBlock| block.language.as_ref().is_none_or(|language| language.is_program());
    message.tool_calls.is_empty() && !code_blocks(&message.text()).iter().any(is_program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chat_ends_when_nothing_is_left_to_do() {
        let with_code = "Here:\n```python\nprint(1)\n```\nTERMINATE";
        for (texts, ends) in [
            (["It is done. TERMINATE"].as_slice(), true),
            (&["Let me think."], false),
            (&["Let me think.", "It is 42."], true),
            (&["Let me think.", with_code], false),
            (&[with_code, "Done.", "Done, I said."], true),
            (&[with_code, "Done."], false),
            (&["Data:\n```json\n{}\n```\nTERMINATE"], true),
        ] {
            let rule = is_done();
            let verdicts: Vec<bool> = texts.iter().map(|text| rule(&Message::new("a", *text))).collect();
            assert_eq!(verdicts.last(), Some(&ends), "{texts:?}");
        }
    }
}
