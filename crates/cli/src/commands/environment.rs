//! `cellblock environment`: the packages that the local executor keeps under a name.

use std::io::Write as _;

use anyhow::Result;
use cellblock_cache::{Objects, user_directory};
use cellblock_packages::environments;
use clap::Subcommand;

use crate::{
    failure::usage,
    render::{GOOD, sanitize::one_line},
};

/// Commands on kept environments.
#[derive(Debug, Subcommand)]
pub enum EnvironmentCommand {
    /// List the environments that there are, with what was asked for in each
    List,
    /// Remove an environment; what it holds stays in the cache until `cellblock image prune`
    Remove {
        /// The environment
        name: String,
    },
}

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
                let hint = "`cellblock environment list` shows those there are";
                return Err(usage(format!("there is no environment `{name}`"), hint));
            }
            writeln!(stdout, "{GOOD}{} is removed{GOOD:#}", one_line(&name))?;
        }
    }
    Ok(0)
}
