//! The commands: one file each.

mod blocks;
mod chat;
mod doctor;
mod environment;
mod exec;
mod extract;
mod generated;
mod image;
mod run;

use std::pin::Pin;

use anyhow::Result;

use crate::args::Command;

/// Runs a command, and returns the exit status. The future is boxed, so that `main` compiles none
/// of the commands again.
pub fn dispatch(command: Command) -> Pin<Box<dyn Future<Output = Result<u8>>>> {
    match command {
        Command::Run(args) => Box::pin(run::run(args)),
        Command::Exec(args) => Box::pin(exec::exec(args)),
        Command::Chat(args) => Box::pin(chat::chat(*args)),
        Command::Extract(args) => Box::pin(async move { extract::extract(&args) }),
        Command::Image(command) => Box::pin(image::image(command)),
        Command::Environment(command) => Box::pin(environment::environment(command)),
        Command::Doctor => Box::pin(doctor::doctor()),
        Command::Completions(args) => Box::pin(async move { generated::completions(&args) }),
        Command::Man => Box::pin(async { generated::man() }),
    }
}
