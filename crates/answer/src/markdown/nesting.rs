//! A bound on the depth of nested quotes and lists.
//!
//! For each line the parser walks through all containers that are open, so a text with a million `> ` in its first line
//! would take quadratic time. A container can only be opened by a marker among the blanks, digits and other markers that
//! a line begins with; where that beginning is longer than anybody writes, the markers are made letters.

use std::borrow::Cow;

/// How far into a line a container may be opened, in bytes.
const MAX_PREFIX: usize = 100;

/// A text of the same length and with the same lines, in which containers nest at most a few hundred levels deep.
pub fn bounded(text: &str) -> Cow<'_, str> {
    let mut bytes = Cow::Borrowed(text.as_bytes());
    let mut line_start = 0;
    for line in text.split_inclusive(['\n', '\r']) {
        let prefix = line.bytes().take_while(|byte| is_prefix(*byte)).count();
        for at in MAX_PREFIX..prefix {
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
        // Only ASCII was put in the place of ASCII.
        Cow::Owned(bytes) => String::from_utf8(bytes).map_or(Cow::Borrowed(text), Cow::Owned),
    }
}

fn is_prefix(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'>' | b'-' | b'+' | b'*' | b'0'..=b'9' | b'.' | b')')
}
