//! The resources that all agents of a chat share: the executor of their code, and the person.

use std::{
    io::{self, IsTerminal as _},
    sync::Arc,
};

use anyhow::Result;
use cellblock_agents::{Approval, CodeExecution, HumanInputMode};
use cellblock_answer::packages::InstallPolicy;
use cellblock_exec::SessionSpec;
use tokio::sync::OnceCell;

use crate::{
    args::{
        chat::{ApproveWhen, ChatArgs, HumanWhen},
        session::SessionArgs,
    },
    executors,
    failure::usage,
    session,
    terminal::TerminalHuman,
};

/// The shared resources of a chat's agents.
pub struct Resources {
    /// When the person behind an agent is asked, unless the agent says otherwise.
    pub human: HumanInputMode,
    /// The person.
    pub person: Arc<TerminalHuman>,
    /// `None` with `--text-only`.
    code: Option<CodeResources>,
}

/// The executor, which starts when an agent first needs it.
struct CodeResources {
    executor: String,
    choices: executors::Choices,
    spec: SessionSpec,
    install: InstallPolicy,
    retries: u32,
    approval: Approval,
    started: OnceCell<CodeExecution>,
}

impl Resources {
    /// Returns the resources that the options describe. Starts nothing. `has_file` is true if a
    /// file describes the agents, which may all answer without a person.
    ///
    /// # Errors If an option needs a terminal and there is none, or the session is invalid.
    pub fn new(args: &ChatArgs, has_file: bool, person: Arc<TerminalHuman>) -> Result<Self> {
        let is_terminal = io::stdin().is_terminal();
        let human = match args.people.human {
            Some(HumanWhen::Always) => HumanInputMode::Always,
            Some(HumanWhen::Terminate) => HumanInputMode::Terminate,
            Some(HumanWhen::Never) => HumanInputMode::Never,
            None if is_terminal && !args.json && !args.events => HumanInputMode::Terminate,
            None => HumanInputMode::Never,
        };
        let always_asks = human == HumanInputMode::Always && !has_file;
        if !is_terminal && (always_asks || args.people.approve == ApproveWhen::Always) {
            let option = if always_asks { "--human always" } else { "--approve always" };
            return Err(usage(
                format!("{option} needs a terminal, and standard input is not one"),
                "run it in a terminal with the task as an argument, or remove the option",
            ));
        }
        executors::check_name(&args.session.executor)?;
        let code = match args.text_only {
            true => None,
            false => Some(CodeResources::new(&args.session, args.people.approve)?),
        };
        Ok(Self { human, person, code })
    }

    /// True if code of the chat runs.
    pub fn runs_code(&self) -> bool {
        self.code.is_some()
    }

    /// Returns the way to run code, and starts the executor the first time; `None` with
    /// `--text-only`.
    ///
    /// # Errors
    /// If the executor cannot start.
    pub async fn code(&self) -> Result<Option<CodeExecution>> {
        match &self.code {
            None => Ok(None),
            Some(code) => Ok(Some(code.started.get_or_try_init(|| code.start()).await?.clone())),
        }
    }
}

impl CodeResources {
    fn new(args: &SessionArgs, approve: ApproveWhen) -> Result<Self> {
        // `Never` is about code only: tools that need approval ask in any case.
        let approval = match approve {
            ApproveWhen::Always => Approval::Always,
            ApproveWhen::Never => Approval::Never,
        };
        Ok(Self {
            executor: args.executor.clone(),
            choices: session::choices(args),
            spec: session::spec(args)?,
            install: session::install_policy(args),
            retries: args.retries,
            approval,
            started: OnceCell::new(),
        })
    }

    async fn start(&self) -> Result<CodeExecution> {
        let executor = executors::start(&self.executor, self.choices.clone()).await?;
        Ok(CodeExecution {
            session: self.spec.clone(),
            install: self.install.clone(),
            retries: self.retries,
            approval: self.approval.clone(),
            ..CodeExecution::new(executor)
        })
    }
}
