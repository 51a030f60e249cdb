//! Text in pieces, as a model that streams would send it.

use cellblock_agents::TextSink;

/// The approximate size of a piece in bytes: a few words.
const PIECE: usize = 12;

/// Passes a text to `on_text`, a few words at a time.
pub(crate) fn give(text: &str, on_text: Option<&TextSink>) {
    if let Some(on_text) = on_text {
        pieces(text).for_each(|piece| on_text(piece));
    }
}

/// Splits a text after white space into pieces of a few words. Joined, they are the text.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = rest
            .char_indices()
            .find(|(at, letter)| at + letter.len_utf8() >= PIECE && letter.is_whitespace())
            .map_or(rest.len(), |(at, letter)| at + letter.len_utf8());
        let (piece, after) = rest.split_at(end);
        rest = after;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::pieces;

    #[test]
    fn pieces_joined_are_the_text() {
        for text in [
            "",
            " ",
            "one",
            "a joke about numbers, and\n\n```python\nprint('ä ö ü')\n```\n",
            "日本語 の テキスト です ね え",
        ] {
            assert_eq!(pieces(text).collect::<String>(), text);
            assert!(pieces(text).all(|piece| !piece.is_empty()));
        }
        assert!(pieces("a joke about numbers, and more of them").count() > 2);
    }
}
