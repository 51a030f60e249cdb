//! Agreement to what is about to run.

use std::io;

use cellblock_agents::{Decision, Proposal};
use cellblock_exec::CodeBlock;

use super::{
    editor,
    line::{Answer, Line},
};
use crate::render::sanitize::one_line;

/// What a person wants who typed something.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Wish {
    Approve,
    Edit,
    Skip,
    Correct(String),
    /// Nothing was said.
    Again,
}

/// Shows a proposal and asks until there is a decision; `None` ends the chat.
///
/// # Errors
/// When the terminal cannot be read.
pub fn ask(line: &mut Line, proposal: &Proposal) -> io::Result<Option<Decision>> {
    line.show(&told(proposal));
    let can_edit = matches!(proposal, Proposal::Code { .. });
    let edit = if can_edit { ", [e]dit" } else { "" };
    let text = format!("[a]pprove{edit}, [s]kip, or write what is to be different");
    loop {
        let Answer::Text(answer) = line.read(&text, "")? else { return Ok(None) };
        match wish(&answer, can_edit) {
            Wish::Approve => return Ok(Some(Decision::Approve)),
            Wish::Correct(text) => return Ok(Some(Decision::Correct { text })),
            Wish::Again => {}
            Wish::Skip => {
                let Answer::Text(why) = line.read("Why? (only Enter: no reason)", "")? else { return Ok(None) };
                return Ok(Some(Decision::Skip { why: why.trim().to_owned() }));
            }
            Wish::Edit => {
                let Proposal::Code { blocks, .. } = proposal else { continue };
                match edited(line, blocks) {
                    Ok(Some(blocks)) if blocks.is_empty() => {
                        let why = "the person removed all of it".to_owned();
                        return Ok(Some(Decision::Skip { why }));
                    }
                    Ok(Some(blocks)) => return Ok(Some(Decision::Edit { blocks })),
                    Ok(None) => return Ok(None),
                    Err(error) => line.show(&format!("it could not be edited: {error}")),
                }
            }
        }
    }
}

fn wish(answer: &str, can_edit: bool) -> Wish {
    match answer.trim().to_lowercase().as_str() {
        "" => Wish::Again,
        "a" | "approve" | "y" | "yes" => Wish::Approve,
        "e" | "edit" if can_edit => Wish::Edit,
        "s" | "skip" | "n" | "no" => Wish::Skip,
        _ => Wish::Correct(answer.trim().to_owned()),
    }
}

/// The blocks as the person changed them, without those that were emptied; `None` ends the chat.
fn edited(line: &mut Line, blocks: &[CodeBlock]) -> io::Result<Option<Vec<CodeBlock>>> {
    let mut changed = Vec::with_capacity(blocks.len());
    for block in blocks {
        let code = match editor::chosen() {
            Some(program) => editor::edit(&program, block)?,
            None => {
                let text = "Change it; Enter when it is done (VISUAL or EDITOR name an editor for more)";
                match line.read(text, block.code.trim_end_matches('\n'))? {
                    Answer::Text(code) => code,
                    Answer::End | Answer::Interrupt => return Ok(None),
                }
            }
        };
        if !code.trim().is_empty() {
            let code = if code.ends_with('\n') { code } else { code + "\n" };
            changed.push(CodeBlock { code, ..block.clone() });
        }
    }
    Ok(Some(changed))
}

/// What is proposed, for a person to read.
fn told(proposal: &Proposal) -> String {
    match proposal {
        Proposal::Code { agent, blocks } => {
            let mut text = format!("\n{} wants to run:\n", one_line(agent));
            for block in blocks {
                let language = block.language.as_ref().map_or("no language", |language| language.as_str());
                let name = block.filename.as_deref().map(|name| format!(" {name}")).unwrap_or_default();
                let about = one_line(&format!("{language}{name}"));
                text.push_str(&format!("\n[{}/{}] {about}\n", block.index + 1, blocks.len()));
                for (number, line) in block.code.lines().enumerate() {
                    text.push_str(&format!("{:>4} | {line}\n", number + 1));
                }
            }
            text
        }
        Proposal::Packages { agent, packages } => {
            format!("\n{} wants to install: {}\n", one_line(agent), one_line(&packages.join(", ")))
        }
        Proposal::Tool { agent, call, from_code } => {
            let who = if *from_code { "Code of " } else { "" };
            let (agent, call) = (one_line(agent), format!("{}({})", one_line(&call.name), call.arguments));
            format!("\n{who}{agent} wants to call {call}\n")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_decide_and_words_correct() {
        for (answer, expected) in [
            ("a", Wish::Approve),
            (" Yes ", Wish::Approve),
            ("e", Wish::Edit),
            ("skip", Wish::Skip),
            ("", Wish::Again),
            ("No, please plot % change!", Wish::Correct("No, please plot % change!".into())),
        ] {
            assert_eq!(wish(answer, true), expected, "{answer}");
        }
        assert_eq!(wish("e", false), Wish::Correct("e".into()));
    }

    #[test]
    fn a_person_sees_all_that_would_run() {
        let blocks = cellblock_exec::code_blocks("```python\n# filename: a.py\nprint(1)\n```\n```sh\nls\n```\n");
        let text = told(&Proposal::Code { agent: "user".into(), blocks });
        for part in ["user wants to run", "[1/2] python a.py", "   2 | print(1)", "[2/2] sh", "   1 | ls"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let call = cellblock_agents::ToolCall { id: "1".into(), name: "pay".into(), arguments: "{\"usd\":5}".into() };
        let text = told(&Proposal::Tool { agent: "user".into(), call, from_code: true });
        assert!(text.contains("Code of user wants to call pay({\"usd\":5})"), "{text}");
    }
}
