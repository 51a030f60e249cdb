//! Oracles: invariants of every text that this crate reads.
//!
//! Each function takes any input and panics when an invariant is broken. The tests of this crate
//! call them with proptest, the targets in `fuzz/` with libFuzzer.
#![allow(clippy::unwrap_used, reason = "an oracle panics when an invariant is broken")]

use cellblock_exec::{Language, PackageName, Requirement, workspace::workspace_path};

use crate::{
    code_blocks,
    language::infer,
    packages::{
        Decision, InstallMode, InstallPolicy, Missing, distribution, distribution_of_command,
        is_known, missing, split_installs,
    },
};

#[cfg(test)]
mod tests;

/// Markdown to code blocks.
///
/// - Blocks are numbered from 0, in the order of their lines; the line of each has a fence.
/// - Each line of a block's code, apart from leading blanks, is the end of its line in the text.
/// - Code is empty or ends with a line end, and has no carriage return.
/// - A file name passes [`workspace_path`] and is its own normal form; a block has a name, or a
///   refused one, or neither.
/// - All code together is no longer than four times the text: a tab is at most four blanks.
pub fn markdown(text: &str) {
    let blocks = code_blocks(text);
    // A carriage return alone also ends a line.
    let lines: Vec<_> = text
        .split('\n')
        .flat_map(|line| line.strip_suffix('\r').unwrap_or(line).split('\r'))
        .collect();
    let mut last_line = 0;
    let mut length = 0;
    for (index, block) in blocks.iter().enumerate() {
        assert_eq!(block.index, index);
        assert!(block.line > last_line, "in order, one fence on a line");
        last_line = block.line;
        let opening = lines[block.line - 1];
        assert!(
            opening.contains("```") || opening.contains("~~~"),
            "line {}: {opening:?}",
            block.line
        );
        assert!(block.code.is_empty() || block.code.ends_with('\n'));
        assert!(!block.code.contains('\r'));
        for (offset, line) in block.code.split_terminator('\n').enumerate() {
            // CommonMark replaces a NUL, and can replace a tab by blanks.
            let line = line.trim_start_matches([' ', '\t']);
            let source = lines[block.line + offset].replace('\0', "\u{fffd}");
            assert!(
                source.ends_with(&line.replace('\0', "\u{fffd}")),
                "{line:?} not in {source:?}"
            );
        }
        assert!(block.filename.is_none() || block.refused_filename.is_none());
        if let Some(name) = &block.filename {
            assert_eq!(workspace_path(name).as_ref(), Ok(name));
        }
        length += block.code.len();
    }
    assert!(length <= 4 * (text.len() + 1), "{length} bytes of code from {}", text.len());
    infer(text);
}

/// Install commands in a block, in every language that is split.
///
/// - The remaining code has as many line ends as the block, so line numbers in errors are right. It
///   is the block itself if there is no request.
/// - The remaining code has no install command.
/// - Requests are in the order of their lines, and their packages are [`requirement`]s.
pub fn install_commands(code: &str) {
    for language in ["python", "bash", "zsh", "javascript"] {
        let language = Language::from_static(language);
        let Ok(split) = split_installs(&language, code) else { continue };
        let mut line = 1;
        for request in &split.requests {
            assert!(line <= request.line && request.line <= newlines(code) + 1, "{request:?}");
            line = request.line;
            for package in &request.packages {
                requirement(&package.to_string());
            }
        }
        let Some(rest) = split.code else {
            assert!(!split.requests.is_empty(), "code is lost");
            continue;
        };
        assert_eq!(newlines(&rest), newlines(code), "{code:?} became {rest:?}");
        assert_eq!(split.requests.is_empty(), rest == code, "{code:?} became {rest:?}");
        let again = split_installs(&language, &rest).unwrap();
        assert!(again.requests.is_empty(), "{code:?} became {rest:?}, which installs");
    }
}

fn newlines(text: &str) -> usize {
    text.bytes().filter(|byte| *byte == b'\n').count()
}

/// A requirement, and the decision of the policy.
///
/// - A requirement is displayed as plain text without blanks that begins with a letter or a digit:
///   no option, no path, no URL, nothing special to a shell or an installer. Parsed again, it is
///   the same.
/// - The deny list wins; then nothing is installed in the mode `never`; then the allow list wins;
///   then `known` allows what is known, `ask` asks and `any` allows.
pub fn requirement(text: &str) {
    let Ok(requirement) = text.parse::<Requirement>() else { return };
    let shown = requirement.to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-.,[]=<>!~*+".contains(c);
    assert!(shown.chars().all(plain), "{shown}");
    assert!(shown.starts_with(|c: char| c.is_ascii_alphanumeric()), "{shown}");
    assert_eq!(shown.parse::<Requirement>().as_ref(), Ok(&requirement), "{text:?}");

    let name: PackageName = requirement.name.parse().unwrap();
    assert_eq!(name.as_str(), requirement.name, "a normal form is its own");
    for mode in [InstallMode::Never, InstallMode::Known, InstallMode::Ask, InstallMode::Any] {
        for (allow, deny) in [(false, false), (true, false), (false, true), (true, true)] {
            let list = |listed: bool| if listed { vec![name.clone()] } else { Vec::new() };
            let policy = InstallPolicy { mode, allow: list(allow), deny: list(deny) };
            let decision = policy.decide(&requirement);
            let expected = match mode {
                _ if deny => "deny",
                InstallMode::Never => "deny",
                _ if allow => "allow",
                InstallMode::Known if is_known(&requirement.name) => "allow",
                InstallMode::Known => "deny",
                InstallMode::Ask => "ask",
                InstallMode::Any => "allow",
            };
            let given = match decision {
                Decision::Allow => "allow",
                Decision::Ask => "ask",
                Decision::Deny { .. } => "deny",
            };
            assert_eq!(given, expected, "{policy:?} {requirement:?}");
        }
    }
}

/// Packages that the standard error of a block asks for.
///
/// - A name occurs in the text as it is.
/// - Its package is a [`requirement`].
/// - No command is named twice.
pub fn missing_packages(stderr: &str) {
    for language in [Language::PYTHON, Language::BASH] {
        let found = missing(&language, stderr);
        for (place, wanted) in found.iter().enumerate() {
            let (name, brings) = match wanted {
                Missing::Module(name) => (name, distribution(name)),
                Missing::Command(name) => (name, distribution_of_command(name)),
                Missing::Distribution(name) => (name, name.parse().ok()),
            };
            assert!(!name.is_empty() && stderr.contains(name.as_str()), "{wanted:?}");
            assert!(!found[..place].contains(wanted), "{wanted:?} twice");
            if let Some(package) = brings {
                requirement(&package.to_string());
            }
        }
    }
}
