//! Text shortened so that it stays honest: what is left out is said where it was.

use std::borrow::Cow;

/// At most about `most` bytes of a text: its head and its tail, with a line between them that says how much is missing.
pub(crate) fn head_and_tail(text: &str, most: usize) -> Cow<'_, str> {
    if text.len() <= most {
        return Cow::Borrowed(text);
    }
    // The end of a program's output says more often why it ended than its beginning does what it did: both get half.
    let head = &text[..text.floor_char_boundary(most / 2)];
    let tail = &text[text.ceil_char_boundary(text.len() - most / 2)..];
    let dropped = text.len() - head.len() - tail.len();
    Cow::Owned(format!("{head}\n[... {dropped} bytes left out ...]\n{tail}"))
}
