//! What `run`, `exec` and `chat` have in common: a session from the options; and what the first two have: a run, and its
//! report.

use std::{io::Write as _, sync::Arc};

use anyhow::Result;
use cellblock_answer::{
    CodeBlock,
    packages::InstallPolicy,
    run::{ErrorReport, RunOptions, RunReport, run_blocks, run_blocks_apart},
};
use cellblock_exec::{Limits, Network, SessionSpec};
use tokio_util::sync::CancellationToken;

use crate::{
    args::{SessionArgs, StreamArgs},
    executors::{self, Choices},
    failure, input,
    interrupt::{cancel_on_ctrl_c, until_cancelled},
    render::{
        artifacts::Artifacts,
        console::{Console, Style},
    },
    workspace,
};

/// Runs what `blocks` gives and shows it; gives the exit status. With `--json` exactly one object is printed, also when
/// it fails.
pub async fn run(
    args: SessionArgs,
    streams: StreamArgs,
    fresh: bool,
    style: Style,
    blocks: impl FnOnce() -> Result<Vec<CodeBlock>>,
) -> Result<u8> {
    let (json, name) = (streams.json, args.executor.clone());
    match (reached(args, streams, fresh, style, blocks).await, json) {
        (Ok((report, hint)), _) => {
            if let Some(failure) = &report.error {
                failure::print(&failure.message, failure.causes.iter().cloned(), Some(hint));
            }
            if json {
                print(&report)?;
            }
            Ok(report.exit_code)
        }
        (Err(error), true) => {
            print(&nothing_reached(&name, &error))?;
            Err(error)
        }
        (Err(error), false) => Err(error),
    }
}

/// Runs and gives the report, with what can be done about the failure in it, if there is one.
async fn reached(
    args: SessionArgs,
    streams: StreamArgs,
    fresh: bool,
    style: Style,
    blocks: impl FnOnce() -> Result<Vec<CodeBlock>>,
) -> Result<(RunReport, &'static str)> {
    if args.executor != executors::AUTO {
        executors::find(&args.executor)?;
    }
    let cancel = CancellationToken::new();
    cancel_on_ctrl_c(&cancel);
    let blocks = blocks()?;
    let (spec, options) = (spec(&args)?, options(&args, &streams, cancel.clone())?);
    let choices = choices(&args);
    let executor = until_cancelled(&cancel, executors::start(&args.executor, choices)).await?;

    let style = if streams.json { Style::Silent } else { style };
    let artifacts = Artifacts::new(args.out, args.overwrite);
    let console =
        Arc::new(Console::start(style, artifacts, args.output_limit, blocks.len(), cancel));
    let run = if fresh { run_blocks_apart } else { run_blocks };
    let result = run(executor.as_ref(), &spec, &blocks, &options, console.clone()).await;
    let mut report = result?;
    let mut hint = "partial results are shown above; run it again, and if it fails again, please \
                    report it";
    if let Some(failure) = console.finish(&report) {
        report.exit_code = failure.code;
        if report.error.is_none() {
            hint = "make room there, or check its permissions";
        }
        report.error = report.error.or(failure.error);
    }
    Ok((report, hint))
}

fn options(
    args: &SessionArgs,
    streams: &StreamArgs,
    cancel: CancellationToken,
) -> Result<RunOptions> {
    let stdin = match &streams.stdin {
        Some(path) => input::bytes(path)?,
        None => Vec::new(),
    };
    Ok(RunOptions {
        stdin: Arc::new(stdin),
        install: install(args),
        retries: args.retries,
        elsewhere: executors::others(&args.executor),
        cancel,
        ..RunOptions::default()
    })
}

/// What the options say about the executor's start.
pub fn choices(args: &SessionArgs) -> Choices {
    Choices {
        image: args.image.clone(),
        isolation: args.isolation,
        fuel: args.fuel,
        runtime: args.runtime.clone(),
        mounts: args.mount.clone(),
        gpus: args.gpus,
        venv: args.venv.clone(),
        environment: args.environment.clone(),
    }
}

/// The session that the options describe, its files read. What was left out of them is told.
pub fn spec(args: &SessionArgs) -> Result<SessionSpec> {
    let limits = Limits {
        wall: args.timeout,
        cpu: args.cpu,
        memory: args.memory,
        disk: args.disk,
        output: args.output_limit,
        files: args.files,
        processes: args.processes,
    };
    let network = match args.allow_host.as_slice() {
        [] => Network::Denied,
        hosts => Network::Allow(hosts.iter().flat_map(|host| host.0.clone()).collect()),
    };
    let inputs = match &args.workspace {
        Some(directory) => workspace::read(directory, &args.out, &limits)?,
        None => workspace::Inputs::default(),
    };
    for line in &inputs.left_out {
        crate::render::note(line);
    }
    Ok(SessionSpec {
        limits,
        strict_limits: args.strict_limits,
        network,
        files: inputs.files,
        ..SessionSpec::default()
    })
}

/// What the options let be installed.
pub fn install(args: &SessionArgs) -> InstallPolicy {
    InstallPolicy {
        mode: args.install,
        allow: args.allow_package.clone(),
        deny: args.deny_package.clone(),
    }
}

/// The JSON of a run of which nothing was reached: the failure alone, and no block.
fn nothing_reached(executor: &str, error: &anyhow::Error) -> serde_json::Value {
    let error_and_causes: &(dyn std::error::Error + 'static) = error.as_ref();
    serde_json::json!({
        "executor": executor,
        "isolation": executors::find(executor).ok().map(|row| row.isolation),
        "exit_code": failure::code(error),
        "blocks": [],
        "error": ErrorReport::new(error_and_causes),
    })
}

fn print(report: &impl serde::Serialize) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    serde_json::to_writer(&mut stdout, report)?;
    writeln!(stdout)?;
    Ok(())
}
