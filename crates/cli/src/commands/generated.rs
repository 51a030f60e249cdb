//! `cellblock man` and `cellblock completions`: texts that are generated from the command line's
//! description.

use std::io::Write as _;

use anyhow::Result;
use clap::CommandFactory as _;
use clap_mangen::Man;

use crate::{
    args::{Cli, CompletionsArgs},
    exit,
    render::text::print_bytes,
};

/// Prints the manual page, with a section for each command.
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
    print_bytes(&page)?;
    Ok(exit::SUCCESS)
}

/// Prints a completion script.
pub fn completions(args: &CompletionsArgs) -> Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "cellblock", &mut script);
    print_bytes(&script)?;
    Ok(exit::SUCCESS)
}
