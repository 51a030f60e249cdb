//! The commands: one file each.

pub mod chat;
pub mod completions;
pub mod doctor;
pub mod environment;
pub mod exec;
pub mod extract;
pub mod image;
pub mod man;
pub mod run;

use anyhow::Result;

use crate::args::Command;

/// Does what the command says, and gives the exit status.
pub async fn dispatch(command: Command) -> Result<u8> {
    match command {
        Command::Run(args) => run::run(args).await,
        Command::Exec(args) => exec::exec(args).await,
        Command::Chat(args) => chat::chat(*args).await,
        Command::Extract(args) => extract::extract(&args),
        Command::Image(command) => image::image(command).await,
        Command::Environment(command) => environment::environment(command).await,
        Command::Doctor => doctor::doctor().await,
        Command::Completions(args) => completions::completions(&args),
        Command::Man => man::man(),
    }
}
