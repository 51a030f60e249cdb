//! The command `cellblock`: runs the code that language models write in a sandbox, and holds the conversations in which they
//! write it.
//!
//! Exit status: 0 every block exited 0, or the chat came to its end; 1 a block failed, or the chat went nowhere; 2 usage, which
//! includes input that cannot be an answer; 124 out of time; 125 cellblock itself, or a model, failed; 126 refused by policy,
//! unsupported, or over budget; 130 interrupted by Ctrl-C; 141 the reader of the output has gone.

mod args;
mod commands;
mod executors;
mod failure;
mod input;
mod interrupt;
mod out;
mod render;
mod session;
mod terminal;
mod trace;
mod units;
mod workspace;

use std::{process::ExitCode, time::Duration};

use clap::Parser as _;

/// How long threads that still fetch or compile get to notice the end, before the process exits without them.
const GRACE: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    let cli = args::Cli::parse();
    if let Err(error) = trace::start() {
        return failure::tell(&error);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return failure::tell(&anyhow::Error::new(error).context("cannot start the runtime"));
        }
    };
    let result = runtime.block_on(commands::dispatch(cli.command));
    runtime.shutdown_timeout(GRACE);
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => failure::tell(&error),
    }
}
