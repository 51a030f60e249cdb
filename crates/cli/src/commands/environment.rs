//! `cellblock environment`: the named package sets of the local executor.

use std::io::Write as _;

use anyhow::Result;
use cellblock_agents::sanitize::one_line;
use cellblock_cache::{Objects, user_directory};
use cellblock_packages::environments;

use crate::{args::EnvironmentCommand, exit, failure::usage, render::text::GOOD};

/// Runs the command.
pub async fn environment(command: EnvironmentCommand) -> Result<u8> {
    let objects = Objects::open(user_directory()?)?;
    let mut stdout = anstream::stdout().lock();
    match command {
        EnvironmentCommand::List => {
            for name in environments::names(&objects)? {
                let packages = environments::read(&objects, &name)?.requirements;
                let packages =
                    packages.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                writeln!(stdout, "{GOOD}{}{GOOD:#}: {}", one_line(&name), one_line(&packages))?;
            }
        }
        EnvironmentCommand::Remove { name } => {
            if !environments::remove(&objects, &name).await? {
                return Err(usage(
                    format!("there is no environment `{name}`"),
                    "`cellblock environment list` shows the environments",
                ));
            }
            writeln!(stdout, "{GOOD}removed {}{GOOD:#}", one_line(&name))?;
        }
    }
    Ok(exit::SUCCESS)
}
