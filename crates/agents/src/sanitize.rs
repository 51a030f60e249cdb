//! Makes the text of untrusted programs and models harmless for a terminal.
//!
//! Escape sequences can change the title of the window, rewrite the screen, fill the clipboard, or
//! make some terminals type commands. So none of them passes: line feed and tab stay; every other
//! control character and every escape sequence is removed, and so are the characters that reorder
//! text (UAX #9), which let `exe.txt` look like `txt.exe`.

use anstream::adapter::StripBytes;

/// Cleans one stream piece by piece. Sequences and characters may be cut anywhere.
#[derive(Debug, Default)]
pub struct Sanitizer {
    strip: StripBytes,
    /// The start of a character whose end has not arrived: at most three bytes.
    partial: Vec<u8>,
}

impl Sanitizer {
    /// Returns the harmless text of the next piece.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        let mut rest = std::mem::take(&mut self.partial);
        for visible in self.strip.strip_next(bytes) {
            rest.extend_from_slice(visible);
        }
        let mut shown = String::with_capacity(rest.len());
        let mut bytes = rest.as_slice();
        loop {
            match std::str::from_utf8(bytes) {
                Ok(text) => {
                    shown.extend(text.chars().filter_map(visible));
                    return shown;
                }
                Err(error) => {
                    let (valid, after) = bytes.split_at(error.valid_up_to());
                    shown.extend(String::from_utf8_lossy(valid).chars().filter_map(visible));
                    let Some(invalid) = error.error_len() else {
                        self.partial = after.to_vec();
                        return shown;
                    };
                    shown.push(char::REPLACEMENT_CHARACTER);
                    bytes = &after[invalid..];
                }
            }
        }
    }
}

/// Returns the character if it is harmless. A carriage return is not: it lets a program overwrite
/// its own output.
fn visible(c: char) -> Option<char> {
    match c {
        '\n' | '\t' => Some(c),
        '\r' => None,
        c if c.is_control() || is_reordering(c) => None,
        c => Some(c),
    }
}

/// The bidirectional embeddings, overrides and isolates, and the line and paragraph separators.
fn is_reordering(c: char) -> bool {
    matches!(
        c,
        '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{61c}'
    )
}

/// Escapes the control characters of an untrusted text, such as a file name, for use within one
/// line.
pub fn one_line(text: &str) -> String {
    let escape = |c: char| match c {
        c if c.is_control() || is_reordering(c) => c.escape_unicode().to_string(),
        c => c.to_string(),
    };
    text.trim_end().chars().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(bytes: &[u8]) -> String {
        Sanitizer::default().push(bytes)
    }

    #[test]
    fn text_passes() {
        let text = "héllo\tworld\n世界 🦀\n";
        assert_eq!(whole(text.as_bytes()), text);
    }

    #[test]
    fn sequences_do_not_pass() {
        for (bytes, shown) in [
            (b"\x1b[31mred\x1b[0m\n".as_slice(), "red\n"),
            (b"\x1b]0;title\x07after", "after"),
            (b"\x1b]52;c;ZXZpbA==\x1b\\after", "after"),
            (b"\x1bP$q\x1b\\after", "after"),
            (b"\x1b[2J\x1b[Hafter", "after"),
            (b"a\x08\x08b\x07\x00\x7fc", "abc"),
            (b"one\r\ntwo\r\n", "one\ntwo\n"),
            (b"hidden\rshown", "hiddenshown"),
            ("\u{9b}31mred\u{9d}0;t\u{9c}".as_bytes(), "31mred0;t"),
            ("a\u{202e}b\u{2066}c".as_bytes(), "abc"),
        ] {
            assert_eq!(whole(bytes), shown, "{bytes:?}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced() {
        let shown = whole(b"a\xffb\x80\n");
        assert!(
            shown.starts_with('a') && shown.ends_with('\n') && shown.contains('b'),
            "{shown:?}"
        );
        assert!(shown.chars().all(|c| c == '\n' || !c.is_control()), "{shown:?}");
    }

    #[test]
    fn pieces_may_be_cut_anywhere() {
        let bytes = "é🦀\u{1b}[31;1mx\u{1b}]0;title\u{7}é\u{202e}\n世".as_bytes();
        let expected = whole(bytes);
        assert_eq!(expected, "é🦀xé\n世");
        for size in 1..bytes.len() {
            let mut sanitizer = Sanitizer::default();
            let pieces: String = bytes.chunks(size).map(|piece| sanitizer.push(piece)).collect();
            assert_eq!(pieces, expected, "pieces of {size} bytes");
        }
    }

    #[test]
    fn names_fit_in_a_line() {
        assert_eq!(one_line("odd\n\x1b[31mname.txt"), "odd\\u{a}\\u{1b}[31mname.txt");
    }
}
