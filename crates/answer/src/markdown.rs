//! From a Markdown text to code blocks.
//!
//! A CommonMark parser finds the fences, so fences of any length, nested, unterminated, in lists,
//! in quotes and in HTML comments are what a reader of the rendered text sees. Additions to
//! CommonMark:
//!
//! - A code block by indentation alone is ignored: models use it for output and quotations, if at
//!   all, and it has no tag. But a *fence* that is indented too far for CommonMark (four columns or
//!   more outside a list) is a block: models indent carelessly.
//! - A block without a tag gets its language from its file name, or else from
//!   [`infer`](crate::language::infer()).
//! - A tag like `text`, `output`, `console` or `json` stays as it is:
//!   [`is_program`](crate::language::is_program) is false for such a block.
//! - A file name that leaves the workspace is refused, in
//!   [`CodeBlock::refused_filename`](crate::CodeBlock::refused_filename).

mod info;
mod overindented;

use std::{borrow::Cow, ops::Range};

use cellblock_exec::{
    Language,
    workspace::{PathRefused, workspace_path},
};
use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};
use serde::{Deserialize, Serialize};

use self::{info::Info, overindented::Fence};
use crate::{
    filename,
    language::{self, infer},
};

/// One fenced code block.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeBlock {
    /// Its place among the blocks of the text, from 0.
    pub index: usize,
    /// The language of its tag, or the inferred one; `None` if neither is known.
    pub language: Option<Language>,
    /// True if the language was inferred: from the file name's extension, or else from the code.
    pub inferred: bool,
    /// The file name that the answer gives to the block: relative, with `/`, inside the workspace.
    pub filename: Option<String>,
    /// An invalid file name that the answer gives to the block. `filename` is `None` then, and the
    /// block must be denied: code for a certain file is not run as if it had no name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused_filename: Option<PathRefused>,
    /// The line where the fence starts, from 1.
    pub line: usize,
    /// The code, with `\n` line ends.
    pub code: String,
}

/// Returns the fenced code blocks of a Markdown text, in order. Time and memory grow linearly with
/// the text.
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

/// The finds of the CommonMark parser.
struct Parsed {
    fences: Vec<Fence>,
    /// The places of fences and HTML blocks. Nothing else in them is a fence.
    taken: Vec<Range<usize>>,
}

fn parse(text: &str) -> Parsed {
    let mut fences = Vec::new();
    let mut taken = Vec::new();
    let mut open: Option<Fence> = None;
    let parsed = bound_nesting(text);
    for (event, range) in Parser::new_ext(&parsed, Options::empty()).into_offset_iter() {
        match event {
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info))) => {
                taken.push(range.clone());
                open = Some(Fence { range, info: info.into_string(), code: String::new() });
            }
            Event::Start(Tag::HtmlBlock) => taken.push(range),
            Event::Text(code) => {
                if let Some(fence) = &mut open {
                    // The parser's text can have letters in the place of markers; ours has the
                    // markers.
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

/// The length of a line's beginning in which a container can be opened, in bytes.
const MAX_CONTAINER_PREFIX: usize = 100;

/// Bounds the depth of nested quotes and lists. Returns a text of the same length and with the same
/// lines, in which containers nest at most a few hundred levels deep.
///
/// For each line the parser visits all open containers, so a text with a million `> ` in its first
/// line would take quadratic time. Only a marker among the blanks, digits and other markers at the
/// beginning of a line can open a container. In a beginning that is longer than anybody writes,
/// markers are replaced by letters.
fn bound_nesting(text: &str) -> Cow<'_, str> {
    let mut bytes = Cow::Borrowed(text.as_bytes());
    let mut line_start = 0;
    for line in text.split_inclusive(['\n', '\r']) {
        let prefix = line.bytes().take_while(|byte| is_prefix(*byte)).count();
        for at in MAX_CONTAINER_PREFIX..prefix {
            let byte = line.as_bytes()[at];
            let blank_follows = line.as_bytes().get(at + 1).is_none_or(u8::is_ascii_whitespace);
            if byte == b'>' || blank_follows && !byte.is_ascii_whitespace() {
                bytes.to_mut()[line_start + at] = b'x';
            }
        }
        line_start += line.len();
    }
    match bytes {
        Cow::Borrowed(_) => Cow::Borrowed(text),
        // ASCII was replaced by ASCII, so this is UTF-8.
        Cow::Owned(bytes) => String::from_utf8(bytes).map_or(Cow::Borrowed(text), Cow::Owned),
    }
}

fn is_prefix(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'>' | b'-' | b'+' | b'*' | b'0'..=b'9' | b'.' | b')')
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

/// Returns the text with `\n` for every carriage return that stands alone. CommonMark ends a line
/// there, but the parser does not do so everywhere. The length stays the same.
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

/// Returns the code with `\n` after every line, including the last.
fn with_line_ends(mut code: String) -> String {
    if code.contains('\r') {
        code = code.replace("\r\n", "\n").replace('\r', "\n");
    }
    if !code.is_empty() && !code.ends_with('\n') {
        code.push('\n');
    }
    code
}

/// A counter of lines for increasing offsets, in one pass over the text.
struct LineCounter<'a> {
    text: &'a [u8],
    offset: usize,
    line: usize,
}

impl LineCounter<'_> {
    /// Returns the line, from 1, of the byte at `offset`, which must not be less than in the
    /// previous call.
    fn line_at(&mut self, offset: usize) -> usize {
        let passed = self.text.get(self.offset..offset).unwrap_or_default();
        self.line += passed.iter().filter(|byte| **byte == b'\n').count();
        self.offset = offset.max(self.offset);
        self.line
    }
}
