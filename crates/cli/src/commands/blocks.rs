//! Runs blocks, and shows the run or prints its report: the common part of `run` and `exec`.

mod display;
mod outcome;

use std::sync::Arc;

use anyhow::Result;
use cellblock_answer::{
    CodeBlock,
    run::{self, ErrorReport, RunOptions, RunReport},
};
use tokio_util::sync::CancellationToken;

use crate::{
    args::{code::StreamArgs, session::SessionArgs},
    artifacts::Artifacts,
    executors, failure, input,
    interrupt::{cancel_on_ctrl_c, until_cancelled},
    render::text::print_json,
    session,
};
pub use display::Detail;
use display::RunDisplay;

/// The hint below a failure of the sandbox.
const SANDBOX_HINT: &str =
    "partial results are above; run it again, and if it fails again, please report it";

/// The hint below a failure to write output.
const OUTPUT_HINT: &str = "free some space there, or check the permissions";

/// The way to run blocks, from the command line.
pub struct BlockOptions {
    pub session: SessionArgs,
    pub streams: StreamArgs,
    pub session_per_block: bool,
    pub detail: Detail,
}

/// Runs the blocks that `read` returns, and returns the exit status. With `--json`, prints exactly
/// one object, also if `read` or the start of the executor fails.
pub async fn run_blocks(
    options: BlockOptions,
    read: impl FnOnce() -> Result<Vec<CodeBlock>>,
) -> Result<u8> {
    let (json, executor) = (options.streams.json, options.session.executor.clone());
    match report(options, read).await {
        Ok((report, hint)) => {
            if let Some(failure) = &report.error {
                failure::print(&failure.message, failure.causes.iter().cloned(), Some(hint));
            }
            if json {
                print_json(&report)?;
            }
            Ok(report.exit_code)
        }
        Err(error) => {
            if json {
                print_json(&report_of_error(&executor, &error))?;
            }
            Err(error)
        }
    }
}

/// Runs the blocks, and returns the report with a hint for the failure in it, if there is one.
async fn report(
    options: BlockOptions,
    read: impl FnOnce() -> Result<Vec<CodeBlock>>,
) -> Result<(RunReport, &'static str)> {
    executors::check_name(&options.session.executor)?;
    let cancel = CancellationToken::new();
    cancel_on_ctrl_c(&cancel);
    let blocks = read()?;
    let spec = session::spec(&options.session)?;
    let run_options = run_options(&options, cancel.clone())?;
    let BlockOptions { session: args, streams, session_per_block, detail } = options;
    let start = executors::start(&args.executor, session::choices(&args));
    let executor = until_cancelled(&cancel, start).await?;

    let detail = if streams.json { Detail::Silent } else { detail };
    let artifacts = Artifacts::new(args.out, args.overwrite);
    let display = RunDisplay::start(detail, artifacts, args.output_limit, blocks.len(), cancel);
    let display = Arc::new(display);
    let run = if session_per_block { run::run_blocks_apart } else { run::run_blocks };
    let mut report = run(executor.as_ref(), &spec, &blocks, &run_options, display.clone()).await?;
    let mut hint = SANDBOX_HINT;
    if let Err(failure) = display.finish(&report) {
        report.exit_code = failure.code;
        if report.error.is_none() {
            hint = OUTPUT_HINT;
        }
        report.error = report.error.or(failure.error);
    }
    Ok((report, hint))
}

fn run_options(options: &BlockOptions, cancel: CancellationToken) -> Result<RunOptions> {
    let stdin = match &options.streams.stdin {
        Some(path) => input::bytes(path)?,
        None => Vec::new(),
    };
    Ok(RunOptions {
        stdin: Arc::new(stdin),
        install: session::install_policy(&options.session),
        retries: options.session.retries,
        elsewhere: executors::others(&options.session.executor),
        cancel,
        ..RunOptions::default()
    })
}

/// Returns the JSON of a run that failed before its first block.
fn report_of_error(executor: &str, error: &anyhow::Error) -> serde_json::Value {
    let error_and_causes: &(dyn std::error::Error + 'static) = error.as_ref();
    serde_json::json!({
        "executor": executor,
        "isolation": executors::find(executor).ok().map(|row| row.isolation),
        "exit_code": failure::code(error),
        "blocks": [],
        "error": ErrorReport::new(error_and_causes),
    })
}
