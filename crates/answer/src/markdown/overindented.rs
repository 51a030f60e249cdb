//! Fences that are indented too far to be fences in CommonMark.
//!
//! ```text
//! Try this:
//!     ```python
//!     print("hi")
//!     ```
//! ```
//!
//! For CommonMark this is a paragraph or an indented code block. A model that writes it means a
//! fence.

use std::ops::Range;

/// A fence in the source text.
pub struct Fence {
    /// Its place in the text, from the opening to the end of the closing line.
    pub range: Range<usize>,
    /// The info string: the text after the opening backticks or tildes.
    pub info: String,
    /// The enclosed code.
    pub code: String,
}

/// The minimum indentation that is too far for a fence, in columns (CommonMark 0.31, section 4.5).
const TOO_FAR: usize = 4;

/// A fence that has been opened.
struct Open<'a> {
    start: usize,
    indent: usize,
    marker: char,
    length: usize,
    info: &'a str,
    code: String,
}

/// Returns the over-indented fences outside the ordered ranges `taken`. One without a closing line
/// is ignored.
pub fn fences(text: &str, taken: Vec<Range<usize>>) -> Vec<Fence> {
    let mut found = Vec::new();
    let mut start = 0;
    for range in taken {
        scan(text, start..line_start(text, range.start), &mut found);
        start = range.end;
    }
    scan(text, start..text.len(), &mut found);
    found
}

/// Returns the start of the line that holds `offset`.
fn line_start(text: &str, offset: usize) -> usize {
    text.as_bytes()[..offset]
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |newline| newline + 1)
}

fn scan(text: &str, range: Range<usize>, found: &mut Vec<Fence>) {
    let mut open: Option<Open<'_>> = None;
    let mut offset = range.start;
    for line in text.get(range).unwrap_or_default().split_inclusive('\n') {
        let start = offset;
        offset += line.len();
        let (indent, rest) = indentation(line);
        match &mut open {
            None if indent >= TOO_FAR => open = opening(start, indent, rest),
            None => {}
            Some(fence) if closes(fence, rest) => {
                found.extend(open.take().map(|fence| Fence {
                    range: fence.start..offset,
                    info: fence.info.to_owned(),
                    code: fence.code,
                }));
            }
            Some(fence) => fence.code.push_str(&dedent(line, fence.indent)),
        }
    }
}

fn opening(start: usize, indent: usize, rest: &str) -> Option<Open<'_>> {
    let marker = rest.chars().next().filter(|c| matches!(c, '`' | '~'))?;
    let info = rest.trim_start_matches(marker);
    let length = rest.len() - info.len();
    let info = info.trim();
    (length >= 3 && !(marker == '`' && info.contains('`'))).then(|| Open {
        start,
        indent,
        marker,
        length,
        info,
        code: String::new(),
    })
}

fn closes(fence: &Open<'_>, rest: &str) -> bool {
    let rest = rest.trim_end();
    rest.len() >= fence.length && rest.chars().all(|c| c == fence.marker)
}

/// Returns the columns of a line's indentation, where a tab advances to the next multiple of four,
/// and the text after it.
fn indentation(line: &str) -> (usize, &str) {
    let mut columns = 0;
    for (at, c) in line.char_indices() {
        match c {
            ' ' => columns += 1,
            '\t' => columns += 4 - columns % 4,
            _ => return (columns, &line[at..]),
        }
    }
    (columns, "")
}

/// Returns a line without up to `columns` columns of its indentation.
fn dedent(line: &str, columns: usize) -> String {
    let (indent, rest) = indentation(line);
    if rest.is_empty() || rest.starts_with(['\r', '\n']) {
        return rest.to_owned();
    }
    format!("{}{rest}", " ".repeat(indent.saturating_sub(columns)))
}
