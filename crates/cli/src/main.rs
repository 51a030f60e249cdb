//! The command `cellblock`: runs the code blocks of a language model's answer in a sandbox.
//!
//! Exit status: 0 every block exited 0; 1 a block failed; 2 usage, which includes input that cannot be an answer; 124 out
//! of wall time; 125 cellblock itself failed; 126 refused by policy or unsupported; 130 interrupted by Ctrl-C; 141 the
//! reader of the output has gone.

mod args;
mod commands;
mod executors;
mod failure;
mod input;
mod interrupt;
mod out;
mod render;
mod session;
mod units;
mod workspace;

use std::{process::ExitCode, time::Duration};

use clap::Parser as _;

/// How long threads that still fetch or compile get to notice the end, before the process exits without them.
const GRACE: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    let cli = args::Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failure::tell(&anyhow::Error::new(error).context("cannot start the runtime")),
    };
    let result = runtime.block_on(commands::dispatch(cli.command));
    runtime.shutdown_timeout(GRACE);
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => failure::tell(&error),
    }
}
