//! Asks the person to approve code, packages and tool calls.

use std::io;

use cellblock_agents::{Decision, Proposal};
use cellblock_answer::CodeBlock;

use super::{
    editor,
    hidden::{escape_hidden, has_hidden},
    line::{LineEditor, TypedLine},
};
use crate::render::text::language_name;

/// The reaction of a person to a proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Reaction {
    Approve,
    Edit,
    Skip,
    Correct(String),
    /// An empty line: the question is repeated.
    Repeat,
}

/// The reason why code with hidden characters is not edited in place: the line editor would write
/// them to the terminal unchanged.
const NEEDS_EDITOR: &str =
    "The code has hidden characters. Set VISUAL or EDITOR to an editor to change it.";

/// The line below text with escaped characters.
const ABOUT_HIDDEN: &str =
    "(\\u{..} stands for a hidden character. Some of them end a line in some languages.)\n";

/// Shows a proposal and asks until the person decides; `None` ends the chat.
///
/// # Errors
/// If the terminal cannot be read.
pub fn ask(line: &mut LineEditor, proposal: &Proposal) -> io::Result<Option<Decision>> {
    line.show(&description(proposal));
    let blocks = match proposal {
        Proposal::Code { blocks, .. } => Some(blocks.as_slice()),
        _ => None,
    };
    let edit = if blocks.is_some() { ", [e]dit" } else { "" };
    let question = format!("[a]pprove{edit}, [s]kip, or say what to change");
    loop {
        let TypedLine::Text(answer) = line.read(&question, "")? else { return Ok(None) };
        match (reaction(&answer, blocks.is_some()), blocks) {
            (Reaction::Approve, _) => return Ok(Some(Decision::Approve)),
            (Reaction::Correct(text), _) => return Ok(Some(Decision::Correct { text })),
            (Reaction::Repeat, _) | (Reaction::Edit, None) => {}
            (Reaction::Skip, _) => {
                let TypedLine::Text(why) = line.read("Why? (Enter: no reason)", "")? else {
                    return Ok(None);
                };
                return Ok(Some(Decision::Skip { why: why.trim().to_owned() }));
            }
            (Reaction::Edit, Some(blocks)) => {
                if editor::chosen().is_none() && blocks.iter().any(|block| has_hidden(&block.code))
                {
                    line.show(NEEDS_EDITOR);
                    continue;
                }
                match edited(line, blocks) {
                    Ok(Some(blocks)) if blocks.is_empty() => {
                        let why = "the person removed all of it".to_owned();
                        return Ok(Some(Decision::Skip { why }));
                    }
                    Ok(Some(blocks)) => return Ok(Some(Decision::Edit { blocks })),
                    Ok(None) => return Ok(None),
                    Err(error) => line.show(&format!("Cannot edit the code: {error}")),
                }
            }
        }
    }
}

fn reaction(answer: &str, can_edit: bool) -> Reaction {
    match answer.trim().to_lowercase().as_str() {
        "" => Reaction::Repeat,
        "a" | "approve" | "y" | "yes" => Reaction::Approve,
        "e" | "edit" if can_edit => Reaction::Edit,
        "s" | "skip" | "n" | "no" => Reaction::Skip,
        _ => Reaction::Correct(answer.trim().to_owned()),
    }
}

/// Returns the blocks as the person changed them, without emptied ones; `None` ends the chat.
fn edited(line: &mut LineEditor, blocks: &[CodeBlock]) -> io::Result<Option<Vec<CodeBlock>>> {
    let mut changed = Vec::with_capacity(blocks.len());
    for block in blocks {
        let code = match editor::chosen() {
            Some(program) => editor::edit(&program, block)?,
            None => {
                let text = "Edit the line, then press Enter (set VISUAL or EDITOR for an editor)";
                match line.read(text, block.code.trim_end_matches('\n'))? {
                    TypedLine::Text(code) => code,
                    TypedLine::End | TypedLine::Interrupt => return Ok(None),
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

/// Returns a complete description of a proposal, with all hidden characters escaped.
fn description(proposal: &Proposal) -> String {
    match proposal {
        Proposal::Code { agent, blocks } => {
            let mut text = format!("\n{} wants to run:\n", inline(agent));
            for block in blocks {
                let name =
                    block.filename.as_deref().map(|name| format!(" {name}")).unwrap_or_default();
                let title = inline(&format!("{}{name}", language_name(block)));
                text.push_str(&format!("\n[{}/{}] {title}\n", block.index + 1, blocks.len()));
                text.push_str(&numbered(&block.code));
            }
            text
        }
        Proposal::Packages { agent, packages } => {
            format!("\n{} wants to install: {}\n", inline(agent), inline(&packages.join(", ")))
        }
        Proposal::Tool { agent, call, from_code } => {
            let source = if *from_code { "Code of " } else { "" };
            let (agent, name) = (inline(agent), inline(&call.name));
            if call.arguments.contains('\n') || has_hidden(&call.arguments) {
                return format!(
                    "\n{source}{agent} wants to call {name} with\n\n{}",
                    numbered(&call.arguments)
                );
            }
            format!("\n{source}{agent} wants to call {name}({})\n", call.arguments)
        }
    }
}

/// Returns the text with line numbers, so that no line can look like one of ours.
fn numbered(text: &str) -> String {
    // Only line feeds end a line here; other line ends are escaped.
    let lines = text.strip_suffix('\n').unwrap_or(text).split('\n').enumerate();
    let mut shown: String = lines
        .map(|(index, line)| format!("{:>4} | {}\n", index + 1, escape_hidden(line)))
        .collect();
    if has_hidden(text) {
        shown.push_str(ABOUT_HIDDEN);
    }
    shown
}

/// Returns a text for use within one of our lines.
fn inline(text: &str) -> String {
    text.split('\n').map(escape_hidden).collect::<Vec<_>>().join("\\u{a}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_decide_and_other_text_corrects() {
        for (answer, expected) in [
            ("a", Reaction::Approve),
            (" Yes ", Reaction::Approve),
            ("e", Reaction::Edit),
            ("skip", Reaction::Skip),
            ("", Reaction::Repeat),
            ("No, please plot % change!", Reaction::Correct("No, please plot % change!".into())),
        ] {
            assert_eq!(reaction(answer, true), expected, "{answer}");
        }
        assert_eq!(reaction("e", false), Reaction::Correct("e".into()));
    }

    #[test]
    fn a_person_sees_all_code_before_it_runs() {
        let blocks = cellblock_answer::code_blocks(
            "```python\n# filename: a.py\nprint(1)\n```\n```sh\nls\n```\n",
        );
        let text = description(&Proposal::Code { agent: "user".into(), blocks });
        for part in
            ["user wants to run", "[1/2] python a.py", "   2 | print(1)", "[2/2] sh", "   1 | ls"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
        let call = cellblock_agents::ToolCall {
            id: "1".into(),
            name: "pay".into(),
            arguments: "{\"usd\":5}".into(),
        };
        let text = description(&Proposal::Tool { agent: "user".into(), call, from_code: true });
        assert!(text.contains("Code of user wants to call pay({\"usd\":5})"), "{text}");
    }

    /// Returns the text that the person sees.
    fn seen(proposal: &Proposal) -> String {
        cellblock_agents::sanitize::Sanitizer::default().push(description(proposal).as_bytes())
    }

    #[test]
    fn no_code_is_hidden() {
        for (code, lines) in [
            // An escape sequence that would swallow lines of Python.
            (
                "# mean\x1b]0;\nprint('EVIL')\n#\x07\nprint(1)\n",
                vec![
                    "   1 | # mean\\u{1b}]0;\n",
                    "   2 | print('EVIL')\n",
                    "   3 | #\\u{7}\n",
                    "   4 | print(1)\n",
                ],
            ),
            // Line ends of JavaScript and Python inside a comment.
            (
                "// sum up\u{2028}console.log('EVIL')",
                vec!["   1 | // sum up\\u{2028}console.log('EVIL')\n"],
            ),
            ("# sum up\rprint('EVIL')", vec!["   1 | # sum up\\u{d}print('EVIL')\n"]),
            // Characters that reorder text, and characters without width.
            (
                "ok = '\u{202e}live\u{2066}' #\u{200b}",
                vec!["ok = '\\u{202e}live\\u{2066}' #\\u{200b}\n"],
            ),
        ] {
            let mut blocks = cellblock_answer::code_blocks("```python\nx\n```\n");
            blocks[0].code = code.to_owned();
            let text = seen(&Proposal::Code { agent: "user".into(), blocks });
            for line in lines {
                assert!(text.contains(line), "{line:?}: {text}");
            }
            assert!(text.contains("stands for a hidden character"), "{text}");
        }
        let (id, name) = ("1".into(), "pay\u{202e}".into());
        let arguments = "{\"usd\":5,\u{2067}\n\"to\":\"\u{200b}me\"}".into();
        let call = cellblock_agents::ToolCall { id, name, arguments };
        let text = seen(&Proposal::Tool { agent: "user\nbob".into(), call, from_code: false });
        let expected = "user\\u{a}bob wants to call pay\\u{202e} with\n\n   \
                        1 | {\"usd\":5,\\u{2067}\n   2 | \"to\":\"\\u{200b}me\"}\n";
        assert!(text.contains(expected), "{text}");
        let text = seen(&Proposal::Packages {
            agent: "user".into(),
            packages: vec!["num\u{200b}py".into()],
        });
        assert!(text.contains("wants to install: num\\u{200b}py"), "{text}");
    }
}
