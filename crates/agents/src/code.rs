//! Code execution: the blocks of a message, run in the agent's session, and the answer that tells what came of them.

mod answer;
pub mod approval;
mod watch;

use std::{fmt, sync::Arc};

use cellblock_answer::{CodeBlock, code_blocks, language::is_program, packages::InstallPolicy};
use cellblock_exec::{Executor, SessionSpec};

pub(crate) use answer::{answer, edited_note, exit_status, not_run};
pub use approval::Approval;
pub(crate) use approval::Verdict;
pub(crate) use watch::Watch;

use crate::{message::Message, tool::Tool};

/// How an agent runs code. All blocks of a chat run in one session, so that they share variables and files.
#[derive(Clone)]
pub struct CodeExecution {
    /// Where code runs.
    pub executor: Arc<dyn Executor>,
    /// The session: its limits, what it may reach, and its files. Default: the default specification.
    pub session: SessionSpec,
    /// What may be installed when it is missing. Default: well-known packages.
    pub install: InstallPolicy,
    /// How often a block that lacked a package may run again before the model is asked. Default: 3.
    pub retries: u32,
    /// Who has to agree before code runs. Default: nobody; what the code may do is bounded by the session.
    pub approval: Approval,
    /// The most that is told of a program's output, in bytes; of a longer one the head and the tail. Default: 16 KiB,
    /// some 4,000 tokens.
    pub output_bytes: usize,
    /// Tools that the code may call: `from host import tools`. Default: none.
    pub tools: Vec<Arc<dyn Tool>>,
    /// Pictures that go back to a model that sees, for each message. Default: 4.
    pub images: usize,
}

impl CodeExecution {
    /// Code execution in an executor, with the defaults.
    pub fn new(executor: Arc<dyn Executor>) -> Self {
        Self {
            executor,
            session: SessionSpec::default(),
            install: InstallPolicy::default(),
            retries: 3,
            approval: Approval::default(),
            output_bytes: 16 * 1024,
            tools: Vec::new(),
            images: 4,
        }
    }
}

/// Whether a block is there to be run, or at least to be refused by name: data that is only there to be read is no code.
pub(crate) fn can_run(block: &CodeBlock) -> bool {
    let is_program = block.language.as_ref().is_none_or(is_program);
    is_program || block.filename.is_some() || block.refused_filename.is_some()
}

/// Whether a message asks for something to be done: tools to be called, or blocks to be run or saved. Data that is only there
/// to be read is none.
pub fn has_something_to_run(message: &Message) -> bool {
    !message.tool_calls.is_empty() || code_blocks(&message.text()).iter().any(can_run)
}

/// Whether a message says that all is done: it [ends with `TERMINATE`](crate::ends_with_terminate), and there is [nothing in
/// it to run](has_something_to_run). Models like to write the word below code that nobody has run yet.
pub fn is_done(message: &Message) -> bool {
    crate::ends_with_terminate(message) && !has_something_to_run(message)
}

impl fmt::Debug for CodeExecution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CodeExecution")
            .field("executor", &self.executor.name())
            .field("approval", &self.approval)
            .finish_non_exhaustive()
    }
}
