//! Install commands in a Python cell: `!pip install x`, `%pip install x`, and plain
//! `pip install x`, which is not Python either.
//!
//! A line is a command only where a statement can begin: not in a string, not in brackets, not
//! after a `\`.

use super::{
    pip, shell,
    split::{InstallRequest, RequestRefused, Split},
};

/// Splits a cell into install requests and the code that remains.
///
/// # Errors
/// The first install command that is refused.
pub fn split(code: &str) -> Result<Split, RequestRefused> {
    let mut requests = Vec::new();
    let mut rest = String::new();
    let mut remains = false;
    let mut place = Place::default();
    let mut lines = code.split_inclusive('\n').enumerate();
    while let Some((index, line)) = lines.next() {
        let text = line.trim();
        if !place.begins_statement() || !may_be_command(text) {
            place.pass(line);
            remains |= !(text.is_empty() || text.starts_with('#'));
            rest.push_str(line);
            continue;
        }
        let mut command = line.to_owned();
        let mut last = line;
        while last.trim_end().ends_with('\\')
            && let Some((_, next)) = lines.next()
        {
            command.push_str(next);
            last = next;
        }
        match request(&command, index + 1)? {
            Some(mut found) => {
                requests.append(&mut found);
                rest.push_str(&line[..line.len() - line.trim_start().len()]);
                rest.push_str("pass");
                rest.extend(command.matches('\n'));
            }
            None => {
                // Another magic or shell line, whose content does not follow Python's rules.
                if !text.starts_with(['!', '%']) {
                    place.pass(&command);
                }
                remains = true;
                rest.push_str(&command);
            }
        }
    }
    let code = if requests.is_empty() { Some(code.to_owned()) } else { remains.then_some(rest) };
    Ok(Split { requests, code })
}

/// True if a line begins like an install command; cheaper than parsing it.
fn may_be_command(text: &str) -> bool {
    text.starts_with(['!', '%', '$', '/', '.'])
        || ["pip", "python", "py ", "uv ", "conda ", "mamba ", "sudo "]
            .iter()
            .any(|start| text.starts_with(start))
}

/// Returns the requests of a command line; `None` if it is no install command.
///
/// # Errors
/// A refused command, or another command in the line, which a Python cell cannot run.
fn request(line: &str, number: usize) -> Result<Option<Vec<InstallRequest>>, RequestRefused> {
    let refused = |why| RequestRefused { line: number, why };
    let mut requests = Vec::new();
    let mut other = None;
    for command in shell::commands(line) {
        match pip::request(&command.words) {
            Some(packages) => {
                requests
                    .push(InstallRequest { line: number, packages: packages.map_err(refused)? });
            }
            None if pip::is_conda(&command.words) => {
                return Err(refused(
                    "conda is not available here; write `pip install` and the name on PyPI".into(),
                ));
            }
            None if command.piped => {}
            None => other = other.or(command.words.into_iter().next()),
        }
    }
    match other {
        Some(other) if !requests.is_empty() => Err(refused(format!(
            "a Python cell cannot run the command `{other}`; put it into a shell block"
        ))),
        _ => Ok(Some(requests).filter(|requests| !requests.is_empty())),
    }
}

/// The syntactic state at the beginning of a line.
#[derive(Default)]
struct Place {
    /// The quotes of the string that is open.
    string: Option<&'static str>,
    /// The number of open brackets.
    depth: usize,
    /// True if the previous line ended with `\`.
    continued: bool,
}

impl Place {
    fn begins_statement(&self) -> bool {
        self.string.is_none() && self.depth == 0 && !self.continued
    }

    /// Advances to the end of `line`.
    fn pass(&mut self, line: &str) {
        self.continued = false;
        let mut rest = line;
        while let Some(c) = rest.chars().next() {
            if let Some(quotes) = self.string
                && let Some(after) = rest.strip_prefix(quotes)
            {
                self.string = None;
                rest = after;
                continue;
            }
            match (self.string, c) {
                (_, '\\') => {
                    // The next character is escaped: no quote, and no line end.
                    let mut chars = rest.chars();
                    chars.next();
                    let next = chars.next();
                    self.continued = self.string.is_none() && matches!(next, Some('\n' | '\r'));
                    if next == Some('\r') && chars.as_str().starts_with('\n') {
                        chars.next();
                    }
                    rest = chars.as_str();
                    continue;
                }
                // A string in single quotes ends with its line.
                (Some("'" | "\""), '\n') => self.string = None,
                (Some(_), _) => {}
                (None, '#') => return,
                (None, '\'' | '"') => {
                    let quotes = ["\"\"\"", "'''", "\"", "'"]
                        .into_iter()
                        .find(|quotes| rest.starts_with(quotes));
                    rest = &rest[quotes.map_or(1, str::len)..];
                    self.string = quotes;
                    continue;
                }
                (None, '(' | '[' | '{') => self.depth += 1,
                (None, ')' | ']' | '}') => self.depth = self.depth.saturating_sub(1),
                (None, _) => {}
            }
            rest = &rest[c.len_utf8()..];
        }
    }
}
