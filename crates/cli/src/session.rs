//! What `run` and `exec` have in common: a session from the options, a run, and its report.

use std::{io::Write as _, sync::Arc};

use anyhow::Result;
use cellblock_exec::{
    CodeBlock, Limits, SessionSpec,
    packages::InstallPolicy,
    run::{Failure, RunOptions, RunReport, run_blocks},
};
use tokio_util::sync::CancellationToken;

use crate::{
    args::SessionArgs,
    executors::{self, Choices, Row},
    failure, input,
    interrupt::{cancel_on_ctrl_c, until_cancelled},
    render::{
        console::{Console, Style},
        progress::Steps,
    },
    workspace,
};

/// Runs what `blocks` gives and shows it; gives the exit status. With `--json` exactly one object is printed, also when
/// it fails.
pub async fn run(
    args: SessionArgs,
    fresh: bool,
    style: Style,
    blocks: impl FnOnce() -> Result<Vec<CodeBlock>>,
) -> Result<u8> {
    let (json, row) = (args.json, executors::find(&args.executor));
    let known = row.as_ref().ok().copied();
    let result = match row {
        Ok(row) => reached(args, row, fresh, style, blocks).await,
        Err(error) => Err(error),
    };
    match (result, json) {
        (Ok(report), _) => {
            if let Some(failure) = &report.error {
                let hint = "what was reached is shown above; run it again, and if it stays so, please report it";
                failure::print(&failure.message, failure.causes.iter().cloned(), Some(hint));
            }
            if json {
                print(&report)?;
            }
            Ok(report.exit_code)
        }
        (Err(error), true) => {
            print(&nothing_reached(known, &error))?;
            Err(error)
        }
        (Err(error), false) => Err(error),
    }
}

/// Runs and gives the report.
async fn reached(
    args: SessionArgs,
    row: &'static Row,
    fresh: bool,
    style: Style,
    blocks: impl FnOnce() -> Result<Vec<CodeBlock>>,
) -> Result<RunReport> {
    let cancel = CancellationToken::new();
    cancel_on_ctrl_c(&cancel);
    let blocks = blocks()?;
    let options = options(&args, row, fresh, cancel.clone())?;
    let executor =
        until_cancelled(&cancel, row.start(Choices { image: args.image.clone(), fuel: args.fuel }, Steps::new()))
            .await?;

    let style = if args.json { Style::Silent } else { style };
    let console = Arc::new(Console::start(style, args.out, args.output_limit, blocks.len(), cancel));
    let result = run_blocks(executor.as_ref(), &blocks, &options, console.clone()).await;
    let mut report = result?;
    if let Some(failure) = console.finish(&report) {
        report.exit_code = failure.code;
        report.error = report.error.or(failure.error);
    }
    Ok(report)
}

fn options(args: &SessionArgs, row: &Row, fresh: bool, cancel: CancellationToken) -> Result<RunOptions> {
    let limits = Limits {
        wall: args.timeout,
        cpu: args.cpu,
        memory: args.memory,
        disk: args.disk,
        output: args.output_limit,
        ..Limits::default()
    };
    let inputs = match &args.workspace {
        Some(directory) => workspace::read(directory, &args.out, &limits)?,
        None => workspace::Inputs::default(),
    };
    for line in &inputs.left_out {
        crate::render::note(line);
    }
    let stdin = match &args.stdin {
        Some(path) => input::bytes(path)?,
        None => Vec::new(),
    };
    Ok(RunOptions {
        session: SessionSpec { limits, image: args.image.clone(), files: inputs.files, ..SessionSpec::default() },
        fresh,
        stdin: Arc::new(stdin),
        install: InstallPolicy {
            mode: args.install,
            allow: args.allow_package.clone(),
            deny: args.deny_package.clone(),
        },
        retries: args.retries,
        elsewhere: executors::others(row.name),
        cancel,
        ..RunOptions::default()
    })
}

/// The JSON of a run of which nothing was reached: the failure alone, and no block.
fn nothing_reached(row: Option<&Row>, error: &anyhow::Error) -> serde_json::Value {
    let error_and_causes: &(dyn std::error::Error + 'static) = error.as_ref();
    serde_json::json!({
        "executor": row.map(|row| row.name),
        "isolation": row.map(|row| row.isolation),
        "exit_code": failure::code(error),
        "blocks": [],
        "error": Failure::new(error_and_causes),
    })
}

fn print(report: &impl serde::Serialize) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    serde_json::to_writer(&mut stdout, report)?;
    writeln!(stdout)?;
    Ok(())
}
