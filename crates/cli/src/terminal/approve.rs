//! Agreement to what is about to run.

use std::io;

use cellblock_agents::{Decision, Proposal};
use cellblock_answer::CodeBlock;

use super::{
    editor,
    line::{Answer, Line},
    written_out::{has_hidden, written_out},
};

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

/// Why code is not edited in place: the line would be written to the terminal as it is.
const NEEDS_EDITOR: &str = "There are characters in it that cannot be seen. VISUAL or EDITOR has to name an editor for that.";

/// What stands below text of which something is written out.
const ABOUT_HIDDEN: &str =
    "(\\u{..} stands for a character that cannot be seen. Some of them end a line.)\n";

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
                let Answer::Text(why) = line.read("Why? (only Enter: no reason)", "")? else {
                    return Ok(None);
                };
                return Ok(Some(Decision::Skip { why: why.trim().to_owned() }));
            }
            Wish::Edit => {
                let Proposal::Code { blocks, .. } = proposal else { continue };
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
                let text =
                    "Change it; Enter when it is done (VISUAL or EDITOR name an editor for more)";
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

/// What is proposed, for a person to read: all of it, whatever is in it.
fn told(proposal: &Proposal) -> String {
    match proposal {
        Proposal::Code { agent, blocks } => {
            let mut text = format!("\n{} wants to run:\n", in_line(agent));
            for block in blocks {
                let language =
                    block.language.as_ref().map_or("no language", |language| language.as_str());
                let name =
                    block.filename.as_deref().map(|name| format!(" {name}")).unwrap_or_default();
                let about = in_line(&format!("{language}{name}"));
                text.push_str(&format!("\n[{}/{}] {about}\n", block.index + 1, blocks.len()));
                text.push_str(&numbered(&block.code));
            }
            text
        }
        Proposal::Packages { agent, packages } => {
            format!("\n{} wants to install: {}\n", in_line(agent), in_line(&packages.join(", ")))
        }
        Proposal::Tool { agent, call, from_code } => {
            let who = if *from_code { "Code of " } else { "" };
            let (agent, name) = (in_line(agent), in_line(&call.name));
            if call.arguments.contains('\n') || has_hidden(&call.arguments) {
                return format!(
                    "\n{who}{agent} wants to call {name} with\n\n{}",
                    numbered(&call.arguments)
                );
            }
            format!("\n{who}{agent} wants to call {name}({})\n", call.arguments)
        }
    }
}

/// Lines with their numbers, so that none of them looks like one of ours.
fn numbered(text: &str) -> String {
    // By line feeds alone: what else ends a line somewhere is written out.
    let lines = text.strip_suffix('\n').unwrap_or(text).split('\n').enumerate();
    let mut shown: String =
        lines.map(|(at, line)| format!("{:>4} | {}\n", at + 1, written_out(line))).collect();
    if has_hidden(text) {
        shown.push_str(ABOUT_HIDDEN);
    }
    shown
}

/// A name or the like within a line of ours.
fn in_line(text: &str) -> String {
    text.split('\n').map(written_out).collect::<Vec<_>>().join("\\u{a}")
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
        let blocks = cellblock_answer::code_blocks(
            "```python\n# filename: a.py\nprint(1)\n```\n```sh\nls\n```\n",
        );
        let text = told(&Proposal::Code { agent: "user".into(), blocks });
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
        let text = told(&Proposal::Tool { agent: "user".into(), call, from_code: true });
        assert!(text.contains("Code of user wants to call pay({\"usd\":5})"), "{text}");
    }

    /// What the person sees in the end.
    fn seen(proposal: &Proposal) -> String {
        crate::render::sanitize::Sanitizer::default().push(told(proposal).as_bytes())
    }

    #[test]
    fn nothing_that_would_run_is_hidden() {
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
            // Ends of lines in JavaScript and in Python, behind the mark of a comment.
            (
                "// sum up\u{2028}console.log('EVIL')",
                vec!["   1 | // sum up\\u{2028}console.log('EVIL')\n"],
            ),
            ("# sum up\rprint('EVIL')", vec!["   1 | # sum up\\u{d}print('EVIL')\n"]),
            // What shows a text in another order, and what cannot be seen.
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
            assert!(text.contains("stands for a character that cannot be seen"), "{text}");
        }
        let (id, name) = ("1".into(), "pay\u{202e}".into());
        let arguments = "{\"usd\":5,\u{2067}\n\"to\":\"\u{200b}me\"}".into();
        let call = cellblock_agents::ToolCall { id, name, arguments };
        let text = seen(&Proposal::Tool { agent: "user\nbob".into(), call, from_code: false });
        let expected = "user\\u{a}bob wants to call pay\\u{202e} with\n\n   1 | {\"usd\":5,\\u{2067}\n   2 | \"to\":\"\\u{200b}me\"}\n";
        assert!(text.contains(expected), "{text}");
        let text = seen(&Proposal::Packages {
            agent: "user".into(),
            packages: vec!["num\u{200b}py".into()],
        });
        assert!(text.contains("wants to install: num\\u{200b}py"), "{text}");
    }
}
