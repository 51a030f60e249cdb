//! The language of untagged code, inferred from its text.
//!
//! Cheap and certain signs come first: a `#!` line, a prompt, a traceback, JSON that parses, an
//! HTML tag. Otherwise each line is compared with a table of features. A language wins if it has
//! enough points, more than every other language, and more than there are lines of prose. A wrong
//! guess would run text as a program, so in doubt the language is unknown.

use std::sync::LazyLock;

use cellblock_exec::Language;
use regex::RegexSet;
use serde::de::IgnoredAny;

use super::features::{FEATURES, Feature, OTHER, SHELL, TYPESCRIPT};
use super::{shell, tags::from_tag};
use crate::pattern::ascii;

/// The maximum number of lines examined, without blank ones. The first lines are as good as all of
/// them.
const LINES: usize = 400;

/// The maximum number of bytes examined in a line.
const LINE_LENGTH: usize = 400;

/// The points that a language needs: one strong feature, or two weak ones.
const ENOUGH: u32 = 2;

/// Returns the language of an untagged block; `None` in doubt.
///
/// Shell commands are `bash` if they use features of bash, otherwise `sh`. Text that is not a
/// program gets the name of its format, such as `json`, `console` (commands after prompts) or
/// `traceback`.
pub fn infer(code: &str) -> Option<Language> {
    let code = code.trim();
    let first_line = code.lines().next()?.trim_end();
    if let Some(interpreter) = first_line.strip_prefix("#!") {
        return from_shebang(interpreter);
    }
    from_first_line(first_line).or_else(|| from_json(code)).or_else(|| from_features(code))
}

/// Returns the language of `/bin/bash`, `/usr/bin/env python3`, `/usr/bin/env -S uv run --script`
/// and the like.
fn from_shebang(interpreter: &str) -> Option<Language> {
    let mut words =
        interpreter.split_whitespace().map(|word| word.rsplit('/').next().unwrap_or(word));
    let mut program = words.next()?;
    if program == "env" {
        program = words.find(|word| !word.starts_with('-') && !word.contains('='))?;
    }
    // uv runs Python scripts.
    from_tag(if program == "uv" { "python" } else { program })
}

fn from_first_line(line: &str) -> Option<Language> {
    let lower = line.get(..20).unwrap_or(line).to_ascii_lowercase();
    let name = if line.starts_with(">>> ") || line.starts_with("In [1]:") {
        "pycon"
    } else if line.starts_with("Traceback (most recent call last)") {
        "traceback"
    } else if line.starts_with("diff --git ") {
        "diff"
    } else if shell::is_prompt(line) {
        "console"
    } else if lower.starts_with("<?xml") {
        "xml"
    } else if lower.starts_with("<?php") {
        "php"
    } else if lower.starts_with("<svg") {
        "svg"
    } else if lower.starts_with('<') && is_html_tag(&lower[1..]) {
        "html"
    } else {
        return None;
    };
    Some(Language::from_static(name))
}

/// Elements that an HTML text or fragment starts with.
const HTML_TAGS: [&str; 33] = [
    "!--", "!doctype", "a", "article", "aside", "body", "button", "canvas", "details", "div",
    "footer", "form", "h1", "h2", "h3", "head", "header", "html", "img", "input", "label", "link",
    "main", "meta", "nav", "ol", "p", "script", "section", "span", "style", "table", "ul",
];

/// True if the text after a `<` is an HTML element.
fn is_html_tag(text: &str) -> bool {
    HTML_TAGS.iter().any(|tag| {
        text.strip_prefix(tag)
            .is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '-'))
    })
}

/// Recognizes JSON objects and arrays. `1` and `"text"` are also JSON, but indicate nothing.
fn from_json(code: &str) -> Option<Language> {
    (code.starts_with(['{', '[']) && serde_json::from_str::<IgnoredAny>(code).is_ok())
        .then(|| Language::from_static("json"))
}

fn from_features(code: &str) -> Option<Language> {
    let mut score = Score::default();
    let lines = code.lines().map(str::trim).filter(|line| !line.is_empty()).take(LINES);
    for line in lines {
        score.add(&line[..line.floor_char_boundary(LINE_LENGTH)]);
    }
    let (language, points) = *score.points.iter().max_by_key(|(_, points)| *points)?;
    let rivals = score.points.iter().filter(|(_, rival)| *rival == points).count();
    if points < ENOUGH || points <= score.prose || rivals > 1 || language == OTHER {
        return None;
    }
    Some(match language {
        SHELL if score.bash => Language::BASH,
        "javascript" if score.typescript => Language::from_static(TYPESCRIPT),
        language => Language::from_static(language),
    })
}

/// The table's patterns. A pattern that does not compile would leave the set empty; a test checks
/// them.
static PATTERNS: LazyLock<RegexSet> = LazyLock::new(|| {
    RegexSet::new(FEATURES.iter().map(|feature| ascii(feature.pattern)))
        .unwrap_or_else(|_| RegexSet::empty())
});

#[derive(Default)]
struct Score {
    /// Points by language.
    points: Vec<(&'static str, u32)>,
    /// Lines of prose.
    prose: u32,
    /// True if the shell code needs bash.
    bash: bool,
    /// True if the JavaScript has types.
    typescript: bool,
}

impl Score {
    /// Counts one line: for each language its strongest feature.
    fn add(&mut self, line: &str) {
        if is_prose(line) {
            self.prose += 1;
            return;
        }
        let mut best: Vec<(&'static str, u32)> = Vec::new();
        let found = PATTERNS.matches(line);
        for Feature { language, points, .. } in found.iter().filter_map(|index| FEATURES.get(index))
        {
            self.typescript |= *language == TYPESCRIPT;
            raise(
                &mut best,
                if *language == TYPESCRIPT { "javascript" } else { language },
                *points,
                u32::max,
            );
        }
        raise(&mut best, SHELL, shell::points(line), u32::max);
        self.bash |= shell::needs_bash(line);
        for (language, points) in best {
            raise(&mut self.points, language, points, |sum, points| sum + points);
        }
    }
}

fn raise(
    table: &mut Vec<(&'static str, u32)>,
    language: &'static str,
    points: u32,
    combine: impl FnOnce(u32, u32) -> u32,
) {
    match table.iter_mut().find(|(name, _)| *name == language) {
        Some((_, sum)) => *sum = combine(*sum, points),
        None => table.push((language, points)),
    }
}

/// Words of English sentences that are neither keywords nor likely names in a program.
const PROSE_WORDS: [&str; 18] = [
    "the",
    "an",
    "are",
    "of",
    "that",
    "this",
    "you",
    "your",
    "we",
    "will",
    "to",
    "should",
    "these",
    "following",
    "which",
    "can",
    "be",
    "has",
];

/// True if a line is a sentence: four or more words of only letters, at least one of them from
/// [`PROSE_WORDS`].
fn is_prose(line: &str) -> bool {
    let mut words = 0;
    let mut telling = false;
    for word in line.split_whitespace() {
        let word = word.trim_end_matches(['.', ',', ':', ';', '!', '?']);
        if word.is_empty()
            || !word.chars().all(|c| c.is_alphabetic() || matches!(c, '\'' | '’' | '-'))
        {
            return false;
        }
        words += 1;
        telling |= PROSE_WORDS.iter().any(|prose| word.eq_ignore_ascii_case(prose));
    }
    words >= 4 && telling && !line.starts_with("echo ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_compiles() {
        assert_eq!(PATTERNS.len(), FEATURES.len());
        for feature in FEATURES {
            assert!(RegexSet::new([feature.pattern]).is_ok(), "{}", feature.pattern);
        }
    }
}
