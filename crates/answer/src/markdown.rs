//! Code blocks out of a Markdown text.
//!
//! A CommonMark parser finds the fences, so that fences of any length, nested, unterminated, in lists, in quotes and in
//! HTML comments are what a reader of the rendered text sees. Where we go further, and why:
//!
//! - A code block by indentation alone is not a block of ours: models use it for output and for quotations, if at all,
//!   and it has no tag. But a *fence* that is indented too far to be one (four columns or more outside a list) is taken:
//!   models indent carelessly.
//! - A block with no tag gets its language from its file name, or else from [`infer`](crate::language::infer()).
//! - A tag like `text`, `output`, `console` or `json` stays what it is: [`is_program`](crate::language::is_program) tells the caller that
//!   such a block is not there to be run.
//! - A file name that leaves the workspace is refused, and the block says so in
//!   [`CodeBlock::refused_filename`](crate::CodeBlock::refused_filename).

mod info;
mod nesting;
mod overindented;

use std::{borrow::Cow, ops::Range};

use cellblock_exec::{
    Language,
    workspace::{PathRefused, workspace_path},
};
use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};
use serde::{Deserialize, Serialize};

use self::info::Info;
use crate::{
    filename,
    language::{self, infer},
};

/// One fenced code block.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeBlock {
    /// Its place among the blocks of the text, from 0.
    pub index: usize,
    /// The language of its tag or, when it has none, the inferred one; `None` when neither is known.
    pub language: Option<Language>,
    /// Whether the language was inferred: from the file name's extension, or else from the code.
    pub inferred: bool,
    /// The file name that the answer gives to the block: relative, with `/`, inside the workspace.
    pub filename: Option<String>,
    /// The file name that the answer gives to the block, when it must not be used. `filename` is `None` then, and the
    /// block is to be denied: code that was meant for a certain file is not run as if it had no name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused_filename: Option<PathRefused>,
    /// The line where the fence starts, from 1.
    pub line: usize,
    /// The code, with `\n` line ends.
    pub code: String,
}

/// A fence in the source text.
struct Fence {
    /// Where it stands, from the opening to the end of the closing line.
    range: Range<usize>,
    /// What follows the opening backticks or tildes.
    info: String,
    /// What it encloses.
    code: String,
}

/// The fenced code blocks of a Markdown text, in order. Time and memory grow linearly with the text.
///
/// ```
/// let blocks = cellblock_answer::code_blocks("Run this:\n\n```py\nprint('hi')\n```\n");
/// assert_eq!(blocks[0].language, Some(cellblock_exec::Language::PYTHON));
/// assert_eq!(blocks[0].code, "print('hi')\n");
/// assert_eq!(blocks[0].line, 3);
/// ```
pub fn code_blocks(text: &str) -> Vec<CodeBlock> {
    let text = &with_newlines(text);
    let Parsed { mut fences, taken } = parse(text);
    let more = overindented::fences(text, taken);
    if !more.is_empty() {
        fences.extend(more);
        fences.sort_by_key(|fence| fence.range.start);
    }
    let mut lines = LineCounter { text: text.as_bytes(), offset: 0, line: 1 };
    fences
        .into_iter()
        .enumerate()
        .map(|(index, fence)| {
            let line = lines.line_at(fence.range.start);
            block(index, line, fence)
        })
        .collect()
}

/// What the CommonMark parser finds.
struct Parsed {
    fences: Vec<Fence>,
    /// Where fences and blocks of HTML stand. In these nothing else is a fence.
    taken: Vec<Range<usize>>,
}

fn parse(text: &str) -> Parsed {
    let mut fences = Vec::new();
    let mut taken = Vec::new();
    let mut open: Option<Fence> = None;
    let parsed = nesting::bounded(text);
    for (event, range) in Parser::new_ext(&parsed, Options::empty()).into_offset_iter() {
        match event {
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info))) => {
                taken.push(range.clone());
                open = Some(Fence { range, info: info.into_string(), code: String::new() });
            }
            Event::Start(Tag::HtmlBlock) => taken.push(range),
            Event::Text(code) => {
                if let Some(fence) = &mut open {
                    // The parser's text may have letters for markers; ours has not.
                    let source = text.get(range).filter(|source| source.len() == code.len());
                    fence.code.push_str(source.unwrap_or(&code));
                }
            }
            Event::End(TagEnd::CodeBlock) => fences.extend(open.take()),
            _ => {}
        }
    }
    Parsed { fences, taken }
}

fn block(index: usize, line: usize, fence: Fence) -> CodeBlock {
    let Info { language, filename } = Info::read(&fence.info);
    let code = with_line_ends(fence.code);
    let named = filename::from_comment(&code).or(filename.as_deref());
    let (filename, refused_filename) = match named.map(workspace_path) {
        None => (None, None),
        Some(Ok(path)) => (Some(path), None),
        Some(Err(refused)) => (None, Some(refused)),
    };
    let inferred = match &language {
        Some(_) => None,
        None => filename.as_deref().and_then(language::from_filename).or_else(|| infer(&code)),
    };
    CodeBlock {
        index,
        inferred: inferred.is_some(),
        language: language.or(inferred),
        filename,
        refused_filename,
        line,
        code,
    }
}

/// The text with `\n` for every carriage return that stands alone. CommonMark ends a line there, but the parser does not
/// in all places. The length stays the same.
fn with_newlines(text: &str) -> Cow<'_, str> {
    let stands_alone =
        |(at, byte): (usize, u8)| byte == b'\r' && text.as_bytes().get(at + 1) != Some(&b'\n');
    if !text.bytes().enumerate().any(stands_alone) {
        return Cow::Borrowed(text);
    }
    let mut chars = text.chars().peekable();
    let mut unified = String::with_capacity(text.len());
    while let Some(c) = chars.next() {
        unified.push(if c == '\r' && chars.peek() != Some(&'\n') { '\n' } else { c });
    }
    Cow::Owned(unified)
}

/// The code with `\n` after every line, also after the last one.
fn with_line_ends(mut code: String) -> String {
    if code.contains('\r') {
        code = code.replace("\r\n", "\n").replace('\r', "\n");
    }
    if !code.is_empty() && !code.ends_with('\n') {
        code.push('\n');
    }
    code
}

/// Line numbers of ever larger offsets, in one pass over the text.
struct LineCounter<'a> {
    text: &'a [u8],
    offset: usize,
    line: usize,
}

impl LineCounter<'_> {
    /// The line, from 1, that holds the byte at `offset`, which must not be less than in the call before.
    fn line_at(&mut self, offset: usize) -> usize {
        let passed = self.text.get(self.offset..offset).unwrap_or_default();
        self.line += passed.iter().filter(|byte| **byte == b'\n').count();
        self.offset = offset.max(self.offset);
        self.line
    }
}
