//! Install commands in a shell block.
//!
//! The script is split into simple commands as in the POSIX shell grammar (section 2.3, token
//! recognition), as far as needed to find where a command begins and ends: quotes, comments,
//! operators, redirections, here-documents and substitutions. Text inside a substitution, a
//! here-document or quotes is never an install command.

use std::{iter::Peekable, ops::Range, str::CharIndices};

use super::{
    pip,
    split::{InstallRequest, RequestRefused, Split},
};

/// Words of the grammar that stand before a command.
const RESERVED: [&str; 14] = [
    "if", "then", "elif", "else", "fi", "while", "until", "do", "done", "{", "}", "!", "time",
    "esac",
];

/// Programs that show or shorten the output of an installer. After an install command in a pipe
/// there is nothing to show.
const FILTERS: [&str; 6] = ["tail", "head", "grep", "cat", "tee", "sed"];

/// A simple command.
pub struct Command {
    /// From its first word to its last, redirections included.
    pub range: Range<usize>,
    /// Its words without their quotes. Of redirections it has only `<<`.
    pub words: Vec<String>,
    /// True if it reads the output of the previous command.
    pub piped: bool,
}

/// Splits a script into install requests and the script that remains.
///
/// # Errors
/// The first install command that is refused.
pub fn split(code: &str) -> Result<Split, RequestRefused> {
    let commands = commands(code);
    let mut requests = Vec::new();
    let mut cuts: Vec<Range<usize>> = Vec::new();
    let mut remains = false;
    let mut line = 1;
    let mut counted = 0;
    for command in &commands {
        match pip::request(&command.words) {
            Some(packages) => {
                line += newlines(&code[counted..command.range.start]);
                counted = command.range.start;
                let packages = packages.map_err(|why| RequestRefused { line, why })?;
                requests.push(InstallRequest { line, packages });
                cuts.push(command.range.clone());
            }
            None => match cuts.last_mut() {
                Some(cut)
                    if command.piped
                        && is_filter(command)
                        && only_pipe(&code[cut.end..command.range.start]) =>
                {
                    cut.end = command.range.end;
                }
                _ => remains = true,
            },
        }
    }
    if requests.is_empty() {
        return Ok(Split { requests, code: Some(code.to_owned()) });
    }
    Ok(Split { requests, code: remains.then(|| without(code, &cuts)) })
}

fn is_filter(command: &Command) -> bool {
    command.words.first().is_some_and(|word| FILTERS.contains(&word.as_str()))
}

/// True if the text between two commands is only a pipe.
fn only_pipe(between: &str) -> bool {
    between.contains('|')
        && between.chars().all(|c| c.is_whitespace() || matches!(c, '|' | '&' | '\\'))
}

/// Returns the script with `true` in the place of each cut, and with as many lines.
fn without(code: &str, cuts: &[Range<usize>]) -> String {
    let mut rest = String::with_capacity(code.len());
    let mut end = 0;
    for cut in cuts {
        rest.push_str(&code[end..cut.start]);
        rest.push_str("true");
        for _ in 0..newlines(&code[cut.clone()]) {
            rest.push_str(" \\\n");
        }
        end = cut.end;
    }
    rest.push_str(&code[end..]);
    rest
}

fn newlines(text: &str) -> usize {
    text.bytes().filter(|byte| *byte == b'\n').count()
}

/// Returns the simple commands of a script, in order, without the reserved words before them.
pub fn commands(code: &str) -> Vec<Command> {
    let mut lexer = Lexer {
        code,
        chars: code.char_indices().peekable(),
        commands: Vec::new(),
        open: None,
        here_documents: Vec::new(),
    };
    lexer.run();
    lexer.commands
}

struct Lexer<'a> {
    code: &'a str,
    chars: Peekable<CharIndices<'a>>,
    commands: Vec<Command>,
    /// The command that is being read.
    open: Option<Command>,
    /// Here-documents whose bodies start after the next line end: the delimiter, and true if tabs
    /// before it are dropped.
    here_documents: Vec<(String, bool)>,
}

impl Lexer<'_> {
    fn run(&mut self) {
        let mut piped = false;
        while let Some((at, c)) = self.chars.peek().copied() {
            match c {
                '\n' => {
                    self.chars.next();
                    self.close();
                    self.skip_here_documents();
                    piped = false;
                }
                c if c.is_whitespace() => {
                    self.chars.next();
                }
                '\\' if self.code[at + 1..].starts_with(['\n', '\r']) => {
                    self.chars.nth(1);
                    self.chars.next_if(|(_, c)| *c == '\n');
                }
                '#' => while self.chars.next_if(|(_, c)| *c != '\n').is_some() {},
                '<' | '>' => self.redirection(at, piped),
                '&' if self.code[at + 1..].starts_with('>') => {
                    self.chars.next();
                    self.redirection(at, piped);
                }
                '(' if self.code[at + 1..].starts_with('(') => self.arithmetic(),
                '|' | '&' | ';' | '(' | ')' => {
                    self.chars.next();
                    self.close();
                    let doubled = self.chars.next_if(|(_, next)| *next == c).is_some();
                    piped = c == '|' && !doubled;
                    if piped {
                        self.chars.next_if(|(_, c)| *c == '&');
                    }
                }
                _ => self.word(at, piped),
            }
        }
        self.close();
    }

    fn close(&mut self) {
        self.commands.extend(self.open.take());
    }

    /// Returns the position of the next character.
    fn position(&mut self) -> usize {
        self.chars.peek().map_or(self.code.len(), |(at, _)| *at)
    }

    fn command(&mut self, at: usize, piped: bool) -> &mut Command {
        self.open.get_or_insert_with(|| Command { range: at..at, words: Vec::new(), piped })
    }

    fn word(&mut self, at: usize, piped: bool) {
        let word = self.read_word();
        let end = self.position();
        let quoted = self.code.get(at..end).is_some_and(|source| source != word);
        let is_first = self.open.as_ref().is_none_or(|command| command.words.is_empty());
        if is_first && !quoted && RESERVED.contains(&word.as_str()) {
            return;
        }
        // `2>file`: the number belongs to the redirection.
        let is_descriptor = !quoted && !word.is_empty() && word.chars().all(|c| c.is_ascii_digit());
        if is_descriptor && matches!(self.chars.peek(), Some((_, '<' | '>'))) {
            return self.redirection(at, piped);
        }
        let command = self.command(at, piped);
        command.words.push(word);
        command.range.end = end;
    }

    /// Reads a word and drops its quotes. A `>` or `<` inside it belongs to it: `pip install x>=2`
    /// means a version, even if a shell would write a file named `=2`.
    fn read_word(&mut self) -> String {
        let mut word = String::new();
        while let Some((at, c)) = self.chars.peek().copied() {
            match c {
                '<' | '>' if word.chars().all(|c| c.is_ascii_digit()) => break,
                c if c.is_whitespace() || matches!(c, '|' | '&' | ';' | '(' | ')') => break,
                _ => {}
            }
            self.chars.next();
            match c {
                '\\' => match self.chars.next() {
                    Some((_, '\n')) | None => {}
                    Some((_, '\r')) => {
                        self.chars.next_if(|(_, c)| *c == '\n');
                    }
                    Some((_, escaped)) => word.push(escaped),
                },
                '\'' => word.extend(self.chars.by_ref().map(|(_, c)| c).take_while(|c| *c != '\'')),
                '"' => self.double_quoted(&mut word),
                '`' => {
                    while self.chars.next().is_some_and(|(_, c)| c != '`') {}
                    word.push('`');
                }
                '$' if matches!(self.chars.peek(), Some((_, '(' | '{'))) => {
                    self.substitution();
                    word.push_str(
                        &self.code[at..self.chars.peek().map_or(self.code.len(), |(end, _)| *end)],
                    );
                }
                c => word.push(c),
            }
        }
        word
    }

    fn double_quoted(&mut self, word: &mut String) {
        while let Some((_, c)) = self.chars.next() {
            match c {
                '"' => return,
                '\\' => match self.chars.next() {
                    Some((_, '\n')) | None => {}
                    Some((_, c @ ('"' | '\\' | '$' | '`'))) => word.push(c),
                    Some((_, c)) => word.extend(['\\', c]),
                },
                '$' if matches!(self.chars.peek(), Some((_, '(' | '{'))) => {
                    self.substitution();
                    word.push('$');
                }
                c => word.push(c),
            }
        }
    }

    /// Skips `(…)` or `{…}` after a `$`, including nested ones and quotes.
    fn substitution(&mut self) {
        let mut depth = 0;
        while let Some((_, c)) = self.chars.next() {
            match c {
                '(' | '{' => depth += 1,
                ')' | '}' => depth -= 1,
                '\\' => {
                    self.chars.next();
                }
                '\'' => while self.chars.next().is_some_and(|(_, c)| c != '\'') {},
                '"' => while self.chars.next().is_some_and(|(_, c)| c != '"') {},
                _ => {}
            }
            if depth == 0 {
                return;
            }
        }
    }

    /// Skips `((…))`, where `<<` is no here-document.
    fn arithmetic(&mut self) {
        self.close();
        self.substitution();
    }

    /// Skips a redirection: its operator and its target.
    fn redirection(&mut self, at: usize, piped: bool) {
        let start = self.position();
        while self.chars.next_if(|(_, c)| matches!(c, '<' | '>' | '&' | '|')).is_some() {}
        let operator = &self.code[start..self.position()];
        let is_here_document = operator == "<<";
        if matches!(self.chars.peek(), Some((_, '('))) {
            // A process substitution holds commands of its own.
            return;
        }
        let dash = is_here_document && self.chars.next_if(|(_, c)| *c == '-').is_some();
        while self.chars.next_if(|(_, c)| matches!(c, ' ' | '\t')).is_some() {}
        let target = self.read_word();
        if is_here_document {
            self.here_documents.push((target, dash));
        }
        let end = self.position();
        let command = self.command(at, piped);
        command.range.end = end;
        if is_here_document {
            // No install command accepts this word, because the body would remain.
            command.words.push("<<".into());
        }
    }

    fn skip_here_documents(&mut self) {
        for (delimiter, dash) in std::mem::take(&mut self.here_documents) {
            loop {
                let start = self.position();
                if start == self.code.len() {
                    return;
                }
                while self.chars.next_if(|(_, c)| *c != '\n').is_some() {}
                let line = &self.code[start..self.position()];
                self.chars.next();
                let line = line.trim_end_matches('\r');
                if (if dash { line.trim_start_matches('\t') } else { line }) == delimiter {
                    break;
                }
            }
        }
    }
}
