//! The run of an answer: its blocks in order, up to the first failure. When a block lacks a
//! package, the package is installed and the block runs again.
//!
//! A block of data (JSON, program output, HTML) is not run, and is no failure. If the answer gives
//! it a file name, it is saved in the workspace and is an artifact.

mod attempts;
mod context;
mod install;
mod observer;
mod report;

use std::{collections::BTreeMap, sync::Arc};

use cellblock_exec::{
    BoxFuture, Error, Executor, Isolation, Outcome, Result, Session, SessionSpec,
};
use context::RunContext;
pub use context::RunOptions;
pub use observer::Observer;
pub use report::{Attempt, BlockReport, Dropped, ErrorReport, RunReport};

use crate::CodeBlock;

/// Opens a session as `spec` says and runs `blocks` in it, in order, up to the first that does not
/// succeed. The rest is [`Outcome::Skipped`].
///
/// # Errors
/// Errors of [`Executor::open`], when nothing has run yet. A later failure of the sandbox is in
/// [`RunReport::error`], beside the results so far.
pub fn run_blocks<'a>(
    executor: &'a dyn Executor,
    spec: &'a SessionSpec,
    blocks: &'a [CodeBlock],
    options: &'a RunOptions,
    observer: Arc<dyn Observer>,
) -> BoxFuture<'a, Result<RunReport>> {
    Box::pin(async move {
        let mut run = Run::new(executor, blocks, options, observer);
        run.add_inputs(spec);
        if blocks.is_empty() {
            return Ok(run.report);
        }
        let mut session = executor.open(spec.clone()).await?;
        run.all(session.as_mut(), blocks).await;
        run.note_failure(session.close().await);
        Ok(run.report)
    })
}

/// Runs `blocks` as [`run_blocks`] does, but each in a new session, which has the input files and
/// nothing of the blocks before.
///
/// # Errors
/// Errors of [`Executor::open`] for the first block; later ones are in [`RunReport::error`].
pub fn run_blocks_apart<'a>(
    executor: &'a dyn Executor,
    spec: &'a SessionSpec,
    blocks: &'a [CodeBlock],
    options: &'a RunOptions,
    observer: Arc<dyn Observer>,
) -> BoxFuture<'a, Result<RunReport>> {
    Box::pin(async move {
        let mut run = Run::new(executor, blocks, options, observer);
        run.add_inputs(spec);
        for block in blocks {
            if run.stopped {
                run.skip(block);
                continue;
            }
            match executor.open(spec.clone()).await {
                Ok(mut session) => {
                    run.block(session.as_mut(), block).await;
                    run.note_failure(session.close().await);
                }
                Err(error) if run.report.blocks.is_empty() => return Err(error),
                Err(error) => run.lose(block, &error),
            }
        }
        Ok(run.report)
    })
}

/// Runs `blocks` in a session that the caller keeps, as the turns of a chat do. `executor` is the
/// one that opened the session.
pub fn run_blocks_in<'a>(
    session: &'a mut dyn Session,
    executor: &'a dyn Executor,
    blocks: &'a [CodeBlock],
    options: &'a RunOptions,
    observer: Arc<dyn Observer>,
) -> BoxFuture<'a, RunReport> {
    Box::pin(async move {
        let mut run = Run::new(executor, blocks, options, observer);
        run.all(session, blocks).await;
        run.report
    })
}

/// A run in progress: what its blocks share, and its report so far.
struct Run<'a> {
    shared: RunContext<'a>,
    /// The number of bytes of output that the report can still take.
    text_room: u64,
    /// True if the remaining blocks are skipped.
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
        let names = blocks.iter().filter_map(|block| block.filename.clone());
        let paths = options.workspace_paths.iter().cloned().chain(names).collect();
        let shared = RunContext { executor, options, observer, paths, answers: BTreeMap::new() };
        Self {
            shared,
            text_room: options.report_bytes,
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

    fn add_inputs(&mut self, spec: &SessionSpec) {
        self.shared.paths.extend(spec.files.iter().map(|file| file.path.clone()));
    }

    /// Runs all blocks in one session, up to the first that does not succeed.
    async fn all(&mut self, session: &mut dyn Session, blocks: &[CodeBlock]) {
        for block in blocks {
            if self.stopped {
                self.skip(block);
            } else {
                self.block(session, block).await;
            }
        }
    }

    /// Runs one block and records the outcome.
    async fn block(&mut self, session: &mut dyn Session, block: &CodeBlock) {
        if self.shared.options.cancel.is_cancelled() {
            return self.finish(BlockReport::not_run(block, Outcome::Cancelled));
        }
        self.shared.observer.started(block);
        match attempts::run_block(&mut self.shared, session, block).await {
            Ok(report) => self.finish(report),
            Err(error) => self.lose(block, &error),
        }
    }

    /// Records a block that is skipped.
    fn skip(&mut self, block: &CodeBlock) {
        self.finish(BlockReport::not_run(block, Outcome::Skipped));
    }

    /// Records that the sandbox failed while it ran `block`.
    fn lose(&mut self, block: &CodeBlock, error: &Error) {
        let mut report = BlockReport::not_run(block, Outcome::Skipped);
        report.sandbox_failed = true;
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
        self.report.error.get_or_insert_with(|| ErrorReport::new(error));
    }

    fn finish(&mut self, mut block: BlockReport) {
        self.weakest = self.weakest.max(block.isolation);
        if let Some(weakest) = self.weakest {
            self.report.isolation = weakest;
        }
        self.shared.paths.extend(block.artifacts.iter().map(|artifact| artifact.path.clone()));
        self.shared.observer.finished(&mut block);
        for attempt in &mut block.attempts {
            for text in [&mut attempt.stdout, &mut attempt.stderr].into_iter().flatten() {
                shorten(text, &mut self.text_room);
            }
        }
        block.dropped.stdout += shorten(&mut block.stdout, &mut self.text_room);
        block.dropped.stderr += shorten(&mut block.stderr, &mut self.text_room);
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

/// Shortens `text` to the remaining room. Returns the number of bytes that it lost.
fn shorten(text: &mut String, room: &mut u64) -> u64 {
    let before = text.len();
    let max = usize::try_from(*room).unwrap_or(usize::MAX);
    text.truncate(text.floor_char_boundary(max));
    *room -= text.len() as u64;
    (before - text.len()) as u64
}
