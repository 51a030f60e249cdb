//! Running a whole answer: its blocks in order, missing packages installed and blocks tried again, up to the first
//! failure.
//!
//! A block that is there to be read (JSON, program output, HTML) is not run and is no failure; when the answer gives it a
//! file name, it is put into the workspace under it and is an artifact.

mod attempts;
mod install;
mod observer;
mod once;
mod report;

use std::{collections::BTreeMap, collections::BTreeSet, sync::Arc};

use cellblock_exec::{
    CancellationToken, Error, Executor, HostTools, Isolation, Language, Outcome, Result, Session,
    SessionSpec,
};
pub use observer::Observer;
pub use report::{Attempt, BlockReport, Dropped, Failure, RunReport};

use crate::{CodeBlock, packages::InstallPolicy};

/// How an answer is run.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// The session that the blocks run in. Default: the default specification.
    pub session: SessionSpec,
    /// Whether each block gets a session of its own, with the input files and nothing of the blocks before. Default: no.
    pub fresh: bool,
    /// What each block reads from standard input, each from the beginning. Default: nothing.
    pub stdin: Arc<Vec<u8>>,
    /// What may be installed. Default: well-known packages.
    pub install: InstallPolicy,
    /// How often a block that lacked a package may run again. Default: 3.
    pub retries: u32,
    /// How much text of all blocks together the report keeps, in bytes, so that an answer of ten thousand chatty blocks
    /// cannot fill the memory; what is beyond counts as dropped. Default: 64 MiB.
    pub report_bytes: u64,
    /// Other executors that the caller has, each with its languages: they are named when a block cannot run here.
    pub elsewhere: Vec<(String, Vec<Language>)>,
    /// What the programs may call on the host. A block that runs again after an installation gets the answers of the calls
    /// that it made before; nothing is called twice. Default: nothing.
    pub host: Option<Arc<dyn HostTools>>,
    /// Ends the run early: the block that runs is [`Outcome::Cancelled`], the rest [`Outcome::Skipped`].
    pub cancel: CancellationToken,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self {
            session: SessionSpec::default(),
            fresh: false,
            stdin: Arc::default(),
            install: InstallPolicy::default(),
            retries: 3,
            report_bytes: 64 * 1024 * 1024,
            elsewhere: Vec::new(),
            host: None,
            cancel: CancellationToken::new(),
        }
    }
}

/// Opens a session and runs `blocks` in it, in order, up to the first that does not succeed; the rest is
/// [`Outcome::Skipped`]. With [`RunOptions::fresh`] each block gets a session of its own.
///
/// # Errors
/// Those of [`Executor::open`], when nothing has run yet. A failure of the sandbox later on is in [`RunReport::error`], beside
/// what was reached.
pub async fn run_blocks(
    executor: &dyn Executor,
    blocks: &[CodeBlock],
    options: &RunOptions,
    observer: Arc<dyn Observer>,
) -> Result<RunReport> {
    let mut run = Run::new(executor, blocks, options, observer);
    let mut session = match blocks {
        [] => None,
        _ => Some(executor.open(options.session.clone()).await?),
    };
    for block in blocks {
        if run.stopped {
            run.skip(block);
            continue;
        }
        let result = match session.take() {
            Some(open) => Ok(open),
            None => executor.open(options.session.clone()).await,
        };
        match result {
            Ok(mut open) => {
                run.block(open.as_mut(), block).await;
                if options.fresh {
                    run.note_failure(open.close().await);
                } else {
                    session = Some(open);
                }
            }
            Err(error) => run.lose(block, &error),
        }
    }
    if let Some(open) = session {
        run.note_failure(open.close().await);
    }
    Ok(run.report)
}

/// Runs `blocks` in a session that goes on afterwards, as the turns of a chat do. [`RunOptions::session`] serves only to
/// know the input files, and [`RunOptions::fresh`] is ignored.
pub async fn run_blocks_in(
    session: &mut dyn Session,
    executor: &dyn Executor,
    blocks: &[CodeBlock],
    options: &RunOptions,
    observer: Arc<dyn Observer>,
) -> RunReport {
    let mut run = Run::new(executor, blocks, options, observer);
    for block in blocks {
        if run.stopped {
            run.skip(block);
        } else {
            run.block(session, block).await;
        }
    }
    run.report
}

/// A run under way.
struct Run<'a> {
    executor: &'a dyn Executor,
    options: &'a RunOptions,
    observer: Arc<dyn Observer>,
    /// Paths of the workspace that are known: a module of that name is the user's own and is never installed.
    paths: BTreeSet<String>,
    /// What a person answered about a package, so that nobody is asked twice.
    answers: BTreeMap<String, bool>,
    /// How many bytes of text the report may still take.
    text_left: u64,
    /// Whether the rest is to be skipped.
    stopped: bool,
    /// The weakest isolation that a block ran in so far.
    weakest: Option<Isolation>,
    report: RunReport,
}

impl<'a> Run<'a> {
    fn new(
        executor: &'a dyn Executor,
        blocks: &[CodeBlock],
        options: &'a RunOptions,
        observer: Arc<dyn Observer>,
    ) -> Self {
        let inputs = options.session.files.iter().map(|file| file.path.clone());
        let names = blocks.iter().filter_map(|block| block.filename.clone());
        Self {
            executor,
            options,
            observer,
            paths: inputs.chain(names).collect(),
            answers: BTreeMap::new(),
            text_left: options.report_bytes,
            stopped: false,
            weakest: None,
            report: RunReport {
                executor: executor.name().to_owned(),
                isolation: executor.capabilities().isolation,
                exit_code: 0,
                blocks: Vec::with_capacity(blocks.len()),
                error: None,
            },
        }
    }

    /// Runs one block and takes down what became of it.
    async fn block(&mut self, session: &mut dyn Session, block: &CodeBlock) {
        if self.options.cancel.is_cancelled() {
            return self.finish(BlockReport::not_run(block, Outcome::Cancelled));
        }
        self.observer.started(block);
        match attempts::run_block(self, session, block).await {
            Ok(report) => self.finish(report),
            Err(error) => self.lose(block, &error),
        }
    }

    /// Takes down a block that is skipped.
    fn skip(&mut self, block: &CodeBlock) {
        self.finish(BlockReport::not_run(block, Outcome::Skipped));
    }

    /// Takes down that the sandbox failed while it ran `block`.
    fn lose(&mut self, block: &CodeBlock, error: &Error) {
        let mut report = BlockReport::not_run(block, Outcome::Skipped);
        report.notes.push(format!("the sandbox failed in this block: {error}"));
        self.fail(error);
        self.finish(report);
    }

    fn note_failure(&mut self, closed: Result<()>) {
        if let Err(error) = closed {
            self.fail(&error);
        }
    }

    fn fail(&mut self, error: &Error) {
        self.stopped = true;
        self.report.exit_code = 125;
        self.report.error.get_or_insert_with(|| Failure::new(error));
    }

    fn finish(&mut self, mut block: BlockReport) {
        self.weakest = self.weakest.max(block.isolation);
        if let Some(weakest) = self.weakest {
            self.report.isolation = weakest;
        }
        self.paths.extend(block.artifacts.iter().map(|artifact| artifact.path.clone()));
        self.observer.finished(&mut block);
        for attempt in &mut block.attempts {
            for text in [&mut attempt.stdout, &mut attempt.stderr].into_iter().flatten() {
                keep(text, &mut self.text_left);
            }
        }
        block.dropped.stdout += keep(&mut block.stdout, &mut self.text_left);
        block.dropped.stderr += keep(&mut block.stderr, &mut self.text_left);
        let code = block.outcome.exit_code();
        if code != 0 {
            self.stopped = true;
            if self.report.exit_code == 0 {
                self.report.exit_code = code;
            }
        }
        self.report.blocks.push(block);
    }
}

/// Shortens `text` to what is left, and says how many bytes it lost.
fn keep(text: &mut String, left: &mut u64) -> u64 {
    let before = text.len();
    let room = usize::try_from(*left).unwrap_or(usize::MAX);
    text.truncate(text.floor_char_boundary(room));
    *left -= text.len() as u64;
    (before - text.len()) as u64
}
