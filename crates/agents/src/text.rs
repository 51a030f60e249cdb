//! Shortened text that says in its place how much is missing.

use std::borrow::Cow;

/// Shortens a text to about `max` bytes: its head, its tail, and a line between them with the
/// number of missing bytes.
pub fn head_and_tail(text: &str, max: usize) -> Cow<'_, str> {
    if text.len() <= max {
        return Cow::Borrowed(text);
    }
    // The end of a program's output often says why it ended, and the beginning what it did.
    let head = &text[..text.floor_char_boundary(max / 2)];
    let tail = &text[text.ceil_char_boundary(text.len() - max / 2)..];
    let dropped = text.len() - head.len() - tail.len();
    Cow::Owned(format!("{head}\n[... {dropped} bytes left out ...]\n{tail}"))
}
