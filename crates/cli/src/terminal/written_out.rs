//! Text that a person is to judge: nothing of it is hidden, and nothing moves anything else.
//!
//! [`sanitize`](crate::render::sanitize) leaves out what would harm a terminal, which is right for what is only told. Of what a
//! person agrees to nothing may be left out: Python goes on after the end of an escape sequence, JavaScript begins a new line at
//! U+2028, and letters without a width tell two names apart that look the same.

/// A line as it is, but for characters that cannot be seen or that move others, which are written as `\u{..}`.
pub fn written_out(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    for c in line.chars() {
        if is_hidden(c) {
            text.extend(c.escape_unicode());
        } else {
            text.push(c);
        }
    }
    text
}

/// Whether there is something in a text, besides the ends of its lines, that [`written_out`] writes out.
pub fn has_hidden(text: &str) -> bool {
    text.chars().any(|c| c != '\n' && is_hidden(c))
}

/// Control characters, all white space but the space and the tab, and what Unicode says is to be ignored where it is not known:
/// marks of direction, letters without a width, variation selectors, tags.
fn is_hidden(c: char) -> bool {
    if matches!(c, ' ' | '\t') {
        return false;
    }
    let ignorable = matches!(
        c,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{2800}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    );
    ignorable || c.is_control() || c.is_whitespace()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::sanitize::Sanitizer;

    #[test]
    fn nothing_is_left_out() {
        for c in ('\0'..='\u{10ffff}').filter(|c| *c != '\n') {
            let line = format!("a{c}b");
            let shown = written_out(&line);
            // What shows it to the person takes nothing away.
            assert_eq!(Sanitizer::default().push(shown.as_bytes()), shown, "{c:?}");
            assert_eq!(shown == line, !has_hidden(&line), "{c:?}");
            assert!(
                shown == line || shown == format!("a\\u{{{:x}}}b", u32::from(c)),
                "{c:?}: {shown}"
            );
        }
    }

    #[test]
    fn text_stays_as_it_is() {
        for text in ["\tprint('héllo, 世界 🦀')", "가격 = 3 # \\u{1b}", "x = a | b"] {
            assert_eq!(written_out(text), text);
        }
        assert_eq!(
            written_out("a\u{200b}b\u{202e}c\u{a0}d\r"),
            "a\\u{200b}b\\u{202e}c\\u{a0}d\\u{d}"
        );
    }
}
