//! The packages that a failed program lacked, found in its standard error.
//!
//! The interpreter or the shell reports them in a line of a fixed form. Only such a line counts, at
//! the place where the interpreter writes it; a module's name in the program's own output does not.

use std::sync::LazyLock;

use cellblock_exec::Language;
use regex::Regex;

use crate::pattern::ascii;

/// Something that a program needs and did not find.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Missing {
    /// A Python module by its dotted name; see [`distribution`](super::distribution).
    Module(String),
    /// A distribution that a library requires, by the name that it writes.
    Distribution(String),
    /// A command; see [`distribution_of_command`](super::distribution_of_command).
    Command(String),
}

/// Returns the missing things from the standard error of a failed block. Empty if it failed for
/// another reason.
///
/// - Python: the last traceback counts. It names a module (`No module named 'a.b'`) or is an
///   `ImportError` that names a distribution (`Missing optional dependency 'openpyxl'`,
///   `pip install openpyxl`). An error raised from such an error counts, too; one that was raised
///   while such an error was handled counts if it is an `ImportError` itself or names the module.
/// - Shells: every `command not found` counts, because a script continues after it; so does
///   Python's error in a script that runs Python.
///
/// A module that exists but is no package (`No module named 'a.b'; 'a' is not a package`) is not
/// missing: a file named `a.py` hides the package, and no installation changes that.
pub fn missing(language: &Language, stderr: &str) -> Vec<Missing> {
    let mut missing = Vec::new();
    if language.is_shell() {
        missing.extend(missing_commands(stderr));
    }
    if language.is_shell() || *language == Language::PYTHON {
        missing.extend(missing_in_python(stderr));
    }
    missing
}

/// One exception of a traceback.
struct Raised<'a> {
    /// Its class, such as `ModuleNotFoundError`, without its module.
    class: &'a str,
    /// Its message, further lines included.
    message: &'a str,
    /// Its relation to the previous exception.
    link: Link,
}

/// The relation of an exception to the previous one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Link {
    /// None: it is the first.
    None,
    /// `raise … from error`.
    Cause,
    /// It was raised in an `except` or `finally` block.
    Context,
}

const HEAD: &str = "Traceback (most recent call last):";
const CAUSE: &str = "The above exception was the direct cause of the following exception:";
const CONTEXT: &str = "During handling of the above exception, another exception occurred:";

fn missing_in_python(stderr: &str) -> Option<Missing> {
    let chain = last_chain(stderr);
    let Some((last, earlier)) = chain.split_last() else { return missing_main_module(stderr) };
    if let Some(missing) = named_by(last) {
        return Some(missing);
    }
    let mut link = last.link;
    for raised in earlier.iter().rev() {
        let missing =
            named_by(raised).filter(|missing| link == Link::Cause || speaks_of(last, missing));
        if missing.is_some() || link == Link::None {
            return missing;
        }
        link = raised.link;
    }
    None
}

/// Returns the exceptions of the last traceback, from the first one raised to the one that ended
/// the program.
fn last_chain(stderr: &str) -> Vec<Raised<'_>> {
    let mut chain: Vec<Raised<'_>> = Vec::new();
    let mut link = Link::None;
    for traceback in tracebacks(stderr) {
        if link == Link::None {
            chain.clear();
        }
        chain.extend(raised(traceback, link));
        link = match linking_line(traceback) {
            Some((_, link)) => link,
            None => Link::None,
        };
    }
    chain
}

/// Returns the text after each [`HEAD`], up to the next one.
fn tracebacks(stderr: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut start = None;
    for (offset, line) in lines(stderr) {
        if line.trim_end() == HEAD {
            found.extend(start.and_then(|start| stderr.get(start..offset)));
            start = Some(offset + line.len());
        }
    }
    found.extend(start.and_then(|start| stderr.get(start..)));
    found
}

/// Returns the start of the line that links a traceback to the next one, and the kind of the link.
fn linking_line(traceback: &str) -> Option<(usize, Link)> {
    lines(traceback).find_map(|(offset, line)| match line.trim_end() {
        CAUSE => Some((offset, Link::Cause)),
        CONTEXT => Some((offset, Link::Context)),
        _ => None,
    })
}

/// Returns the exception at the end of a traceback's frames: the first line that is not indented.
fn raised(traceback: &str, link: Link) -> Option<Raised<'_>> {
    let end = linking_line(traceback).map_or(traceback.len(), |(offset, _)| offset);
    let is_frame = |line: &str| line.trim().is_empty() || line.starts_with([' ', '\t']);
    let (start, _) = lines(traceback).find(|(_, line)| !is_frame(line))?;
    let (class, message) = traceback.get(start..end)?.split_once(':')?;
    (!class.contains(char::is_whitespace)).then(|| Raised {
        class: class.rsplit('.').next().unwrap_or(class),
        message: message.trim(),
        link,
    })
}

/// Returns the lines of a text with their line ends, each with its offset.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.split_inclusive('\n').scan(0, |offset, line| {
        let start = *offset;
        *offset += line.len();
        Some((start, line))
    })
}

/// Returns the missing thing that an exception names.
fn named_by(raised: &Raised<'_>) -> Option<Missing> {
    match raised.class {
        "ModuleNotFoundError" => module_in(raised.message)
            .or_else(|| distribution_in(raised.message))
            .filter(|_| !is_hidden(raised.message)),
        "ImportError" => distribution_in(raised.message).or_else(|| module_in(raised.message)),
        _ => None,
    }
}

/// True if an exception that was raised while an import error was handled passes that error on.
fn speaks_of(raised: &Raised<'_>, missing: &Missing) -> bool {
    let (Missing::Module(name) | Missing::Distribution(name) | Missing::Command(name)) = missing;
    let root = name.split('.').next().unwrap_or(name);
    matches!(raised.class, "ImportError" | "ModuleNotFoundError")
        || raised
            .message
            .split(|c: char| !(c.is_alphanumeric() || c == '_'))
            .any(|word| word == root)
}

/// Parses `No module named 'a.b'`; very old libraries write it without quotes.
fn module_in(message: &str) -> Option<Missing> {
    let name = message.strip_prefix("No module named ")?;
    let name = match name.chars().next()? {
        quote @ ('\'' | '"') => name.get(1..)?.split(quote).next()?,
        _ => name.split([';', ' ', '\n']).next()?.trim_end_matches(['.', ',']),
    };
    let is_identifier = |part: &str| {
        part.starts_with(|c: char| c.is_alphabetic() || c == '_')
            && part.chars().all(|c| c.is_alphanumeric() || c == '_')
    };
    name.split('.').all(is_identifier).then(|| Missing::Module(name.to_owned()))
}

fn is_hidden(message: &str) -> bool {
    message.contains("is not a package")
        || message.contains("is a package and cannot be directly executed")
}

/// The phrases with which libraries require an optional dependency. pandas before version 3 says
/// "Missing optional dependency", since then "`Import x` failed"; most others show the command to
/// type.
static ASKS: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    [
        r#"^Missing optional dependency ['"]([\w.-]+)['"]"#,
        r"^`Import ([\w.-]+)` failed\.",
        r#"\bpip3? install (?:(?:-U|--upgrade) )?['"`]?([A-Za-z0-9][\w.-]*)"#,
    ]
    .into_iter()
    .filter_map(|pattern| Regex::new(&ascii(pattern)).ok())
    .collect()
});

fn distribution_in(message: &str) -> Option<Missing> {
    let name = ASKS.iter().find_map(|pattern| pattern.captures(message)?.get(1))?.as_str();
    Some(Missing::Distribution(name.trim_end_matches(['.', '-']).to_owned()))
}

/// Parses `python3: No module named pytest`, the error of `python3 -m pytest`. It has no traceback,
/// so it must be the last line.
fn missing_main_module(stderr: &str) -> Option<Missing> {
    let line = stderr.lines().rev().find(|line| !line.trim().is_empty())?;
    let (program, message) = line.split_once(": ")?;
    let program = program.rsplit('/').next()?;
    (program.starts_with("python") && !program.contains(' ') && !is_hidden(message))
        .then(|| module_in(message))?
}

/// Returns every command that a shell did not find, in order, each once.
fn missing_commands(stderr: &str) -> Vec<Missing> {
    let mut missing = Vec::new();
    for command in stderr.lines().filter_map(command_in) {
        let command = Missing::Command(command.to_owned());
        if !missing.contains(&command) {
            missing.push(command);
        }
    }
    missing
}

/// Errors of shells and `env` for a missing command. The word before the first colon is the shell
/// or its script.
///
/// - bash: `bash: line 1: jq: command not found`, `bash: jq: command not found`,
///   `/tmp/x.sh: line 3: jq: command not found`
/// - dash: `sh: 1: jq: not found`, `./x.sh: 3: jq: not found`; busybox: `sh: jq: not found`
/// - zsh: `zsh: command not found: jq`, `zsh:1: command not found: jq`
/// - env: `/usr/bin/env: 'node': No such file or directory`
static NOT_FOUND: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    [
        r"^[\w./-]+: (?:line \d+: )?([\w.+-]+): command not found$",
        r"^[\w./-]+: (?:(?:line )?\d+: )?([\w.+-]+): not found$",
        r"^zsh:(?:\d+:)? command not found: ([\w.+-]+)$",
        r"^(?:/usr/bin/)?env: ['‘]?([\w.+-]+)['’]?: No such file or directory$",
    ]
    .into_iter()
    .filter_map(|pattern| Regex::new(&ascii(pattern)).ok())
    .collect()
});

fn command_in(line: &str) -> Option<&str> {
    NOT_FOUND.iter().find_map(|pattern| Some(pattern.captures(line.trim_end())?.get(1)?.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_compiles() {
        assert_eq!((ASKS.len(), NOT_FOUND.len()), (3, 4));
    }
}
