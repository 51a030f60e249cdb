//! `cellblock exec`: runs a piece of code.

use std::path::Path;

use anyhow::Result;
use cellblock_answer::{CodeBlock, language};
use cellblock_exec::{Language, workspace::workspace_path};

use super::blocks::{BlockOptions, Detail, run_blocks};
use crate::{args::code::ExecArgs, input};

/// Runs the command.
pub async fn exec(args: ExecArgs) -> Result<u8> {
    let ExecArgs { file, code, language: tag, session, streams } = args;
    let options =
        BlockOptions { session, streams, session_per_block: false, detail: Detail::Block };
    run_blocks(options, move || Ok(vec![block(&file, code, tag.as_deref())?])).await
}

/// Returns the code as a block.
fn block(file: &Path, code: Option<String>, tag: Option<&str>) -> Result<CodeBlock> {
    let (code, filename) = match code {
        Some(code) => (code, None),
        None => {
            let name = file.file_name().and_then(|name| name.to_str()).filter(|name| *name != "-");
            (input::text(file)?, name.and_then(|name| workspace_path(name).ok()))
        }
    };
    let tagged = tag.and_then(language::from_tag);
    let inferred = tagged.is_none();
    let by_name = || filename.as_deref().and_then(language::from_filename);
    // A block of an answer may be anything, but this code was given to run: assume Python.
    let language =
        tagged.or_else(by_name).or_else(|| language::infer(&code)).or(Some(Language::PYTHON));
    Ok(CodeBlock { language, inferred, filename, line: 1, code, ..CodeBlock::default() })
}
