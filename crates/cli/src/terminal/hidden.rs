//! Shows text that a person has to approve with all its hidden characters.
//!
//! [`sanitize`](cellblock_agents::sanitize) removes characters that would harm a terminal, which is
//! right for output. Text to approve must be shown completely: Python continues after an escape
//! sequence that a terminal would swallow, JavaScript starts a new line at U+2028, and characters
//! without width make two different names look the same.

/// Returns the line with hidden characters written as `\u{..}`.
pub fn escape_hidden(line: &str) -> String {
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

/// True if [`escape_hidden`] would change a line of the text.
pub fn has_hidden(text: &str) -> bool {
    text.chars().any(|c| c != '\n' && is_hidden(c))
}

/// True for control characters, white space other than space and tab, and characters with the
/// Unicode property `Default_Ignorable_Code_Point`: marks of direction, characters without width,
/// variation selectors, tags.
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
    use cellblock_agents::sanitize::Sanitizer;

    use super::*;

    #[test]
    fn no_character_is_removed() {
        for c in ('\0'..='\u{10ffff}').filter(|c| *c != '\n') {
            let line = format!("a{c}b");
            let shown = escape_hidden(&line);
            // The sanitizer, which shows it to the person, removes nothing from it.
            assert_eq!(Sanitizer::default().push(shown.as_bytes()), shown, "{c:?}");
            assert_eq!(shown == line, !has_hidden(&line), "{c:?}");
            assert!(
                shown == line || shown == format!("a\\u{{{:x}}}b", u32::from(c)),
                "{c:?}: {shown}"
            );
        }
    }

    #[test]
    fn visible_text_is_unchanged() {
        for text in ["\tprint('héllo, 世界 🦀')", "가격 = 3 # \\u{1b}", "x = a | b"] {
            assert_eq!(escape_hidden(text), text);
        }
        assert_eq!(
            escape_hidden("a\u{200b}b\u{202e}c\u{a0}d\r"),
            "a\\u{200b}b\\u{202e}c\\u{a0}d\\u{d}"
        );
    }
}
