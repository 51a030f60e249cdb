//! `cellblock man`: the manual page, with a section for each command.

use std::io::Write as _;

use anyhow::Result;
use clap::CommandFactory as _;
use clap_mangen::Man;

use crate::args::Cli;

/// Runs the command.
pub fn man() -> Result<u8> {
    let mut page = Vec::new();
    let command = Cli::command();
    Man::new(command.clone()).render(&mut page)?;
    for subcommand in command.get_subcommands() {
        let name = format!("cellblock {}", subcommand.get_name());
        let man = Man::new(subcommand.clone());
        writeln!(page, ".SH \"{}\"", name.to_uppercase())?;
        man.render_description_section(&mut page)?;
        man.render_options_section(&mut page)?;
    }
    print(&page)
}

/// Prints what was made whole in memory.
pub fn print(bytes: &[u8]) -> Result<u8> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.flush()?;
    Ok(0)
}
