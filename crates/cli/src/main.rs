//! The command `cellblock`: runs the code of language models' answers in a sandbox, and holds the
//! chats in which models write it.
//!
//! Modules import in one direction: `args` describes the command line and knows no command;
//! `executors` is the table of executors; `session` turns options into a session; `commands` does
//! the work and prints through `render`. `exit` lists the exit statuses.

mod args;
mod artifacts;
mod commands;
mod executors;
mod exit;
mod failure;
mod input;
mod interrupt;
mod render;
mod session;
mod terminal;
mod workspace;

use std::{process::ExitCode, time::Duration};

use anyhow::{Context as _, Result};
use clap::Parser as _;
use tracing_subscriber::{EnvFilter, fmt::format::FmtSpan};

use failure::usage;

/// Time for threads that still download or compile to stop, before the process exits without them.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(500);

/// The environment variable that turns on tracing, for example `cellblock_models=debug`.
const LOG_VARIABLE: &str = "CELLBLOCK_LOG";

fn main() -> ExitCode {
    let cli = args::Cli::parse();
    match run(cli) {
        Ok(code) => ExitCode::from(code),
        Err(error) => failure::print_error(&error),
    }
}

fn run(cli: args::Cli) -> Result<u8> {
    start_tracing()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the asynchronous runtime")?;
    let result = runtime.block_on(commands::dispatch(cli.command));
    runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
    result
}

/// Writes spans and events to standard error as [`LOG_VARIABLE`] asks; nothing if it is not set.
///
/// # Errors
/// If the variable is invalid.
fn start_tracing() -> Result<()> {
    let Some(filter) = std::env::var_os(LOG_VARIABLE).filter(|filter| !filter.is_empty()) else {
        return Ok(());
    };
    let invalid = |why: String| {
        usage(
            format!("invalid value of {LOG_VARIABLE}: {why}"),
            "use a level such as `info`, or targets with levels such as \
             `cellblock_models=debug,warn`",
        )
    };
    let filter = filter.to_str().ok_or_else(|| invalid("it is not UTF-8".to_owned()))?;
    let filter = EnvFilter::builder().parse(filter).map_err(|error| invalid(error.to_string()))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_span_events(FmtSpan::CLOSE)
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .init();
    Ok(())
}
