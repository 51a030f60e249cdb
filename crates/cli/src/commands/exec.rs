//! `cellblock exec`: one piece of code.

use std::path::PathBuf;

use anyhow::Result;
use cellblock_answer::{CodeBlock, language};
use cellblock_exec::{Language, workspace::workspace_path};
use clap::Args;

use crate::{
    args::{SessionArgs, StreamArgs},
    input,
    render::console::Style,
    session,
};

/// Runs one piece of code: a file, an argument, or standard input.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  cellblock exec -c 'print(6 * 7)'
  cellblock exec plot.py --out charts/
  generate | cellblock exec -l python - --json")]
pub struct ExecArgs {
    /// File with the code; `-` is standard input
    #[arg(value_name = "FILE", default_value = "-", conflicts_with = "code")]
    pub file: PathBuf,
    /// The code itself
    #[arg(short, long, value_name = "CODE")]
    pub code: Option<String>,
    /// Its language; when it is not given, told from the file's name or the code itself, else Python
    #[arg(short, long, value_name = "LANGUAGE")]
    pub language: Option<String>,
    /// Options of the session.
    #[command(flatten)]
    pub session: SessionArgs,
    /// Standard input, and the form of the result.
    #[command(flatten)]
    pub streams: StreamArgs,
}

/// Runs the command.
pub async fn exec(args: ExecArgs) -> Result<u8> {
    let (file, code, tag) = (args.file, args.code, args.language);
    session::run(args.session, args.streams, false, Style::Piece, move || {
        Ok(vec![block(file, code, tag)?])
    })
    .await
}

/// The one block.
fn block(file: PathBuf, code: Option<String>, tag: Option<String>) -> Result<CodeBlock> {
    let (code, filename) = match code {
        Some(code) => (code, None),
        None => {
            let name = file.file_name().and_then(|name| name.to_str()).filter(|name| *name != "-");
            (input::text(&file)?, name.and_then(|name| workspace_path(name).ok()))
        }
    };
    let tagged = tag.as_deref().and_then(language::from_tag);
    let inferred = tagged.is_none();
    let by_name = || filename.as_deref().and_then(language::from_filename);
    // Unlike a block of an answer, this was given to be run: what cannot be told is taken for Python.
    let language =
        tagged.or_else(by_name).or_else(|| language::infer(&code)).or(Some(Language::PYTHON));
    Ok(CodeBlock { language, inferred, filename, line: 1, code, ..CodeBlock::default() })
}
