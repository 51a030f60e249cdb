//! Code execution: the description of how an agent runs code, the observer that turns a run into
//! events, and the message that reports the run.

mod answer;
mod observer;

use std::{fmt, sync::Arc};

use cellblock_answer::{CodeBlock, code_blocks, language::is_program, packages::InstallPolicy};
use cellblock_exec::{Executor, SessionSpec};

pub(crate) use answer::{edited_note, exit_status, not_run, report_message};
pub(crate) use observer::RunObserver;

use crate::{approval::Approval, message::Message, tool::Tool};

/// The way an agent runs code. All blocks of a chat run in one session, so that they share
/// variables and files.
#[derive(Clone)]
pub struct CodeExecution {
    /// The executor.
    pub executor: Arc<dyn Executor>,
    /// The session: its limits, grants and files. Default: the default specification.
    pub session: SessionSpec,
    /// The packages that may be installed when they are missing. Default: well-known packages.
    pub install: InstallPolicy,
    /// The maximum of repetitions of a block that lacked a package, before the model is asked.
    /// Default: 3.
    pub retries: u32,
    /// The approval before code runs. Default: none; the session limits what code can do.
    pub approval: Approval,
    /// The maximum of a program's output that a message contains, in bytes. Of a longer output it
    /// contains the head and the tail. Default: 16 KiB, about 4,000 tokens.
    pub max_output_bytes: usize,
    /// Tools that the code may call with `from host import tools`. Default: none.
    pub tools: Vec<Arc<dyn Tool>>,
    /// The maximum of images in a message, for models that see images. Default: 4.
    pub max_images: usize,
}

impl CodeExecution {
    /// Creates a description with the defaults.
    pub fn new(executor: Arc<dyn Executor>) -> Self {
        Self {
            executor,
            session: SessionSpec::default(),
            install: InstallPolicy::default(),
            retries: 3,
            approval: Approval::default(),
            max_output_bytes: 16 * 1024,
            tools: Vec::new(),
            max_images: 4,
        }
    }
}

/// True if a block is to be run, saved, or refused by name. Data without a file name is only to be
/// read.
pub(crate) fn is_work(block: &CodeBlock) -> bool {
    let is_program = block.language.as_ref().is_none_or(is_program);
    is_program || block.filename.is_some() || block.refused_filename.is_some()
}

/// True if a message asks for tool calls or, where code is run (`runs_code`), has blocks to run or
/// to save. Data that is only to be read does not count.
pub fn asks_for_work(message: &Message, runs_code: bool) -> bool {
    !message.tool_calls.is_empty() || runs_code && code_blocks(&message.text()).iter().any(is_work)
}

impl fmt::Debug for CodeExecution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CodeExecution")
            .field("executor", &self.executor.name())
            .field("approval", &self.approval)
            .finish_non_exhaustive()
    }
}
