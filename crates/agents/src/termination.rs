//! Termination rules: conditions on the history of a chat that end it.

use std::sync::Arc;

use crate::{code::asks_for_work, message::Message};

/// A condition on the history so far. The last message is included.
pub type Predicate = Arc<dyn Fn(&[Message]) -> bool + Send + Sync>;

/// True if the last message is exactly `TERMINATE`.
pub fn is_terminate(history: &[Message]) -> bool {
    history.last().is_some_and(|last| last.text() == "TERMINATE")
}

/// A termination rule: true if the last message ends with `TERMINATE`, as the default system
/// message of an assistant asks for, whatever punctuation surrounds the word.
pub fn ends_with_terminate(history: &[Message]) -> bool {
    history.last().is_some_and(|last| ends_with_word(last, "TERMINATE"))
}

/// True if the text of a message ends with a word, whatever white space and punctuation follow. No
/// message ends with an empty word.
pub fn ends_with_word(message: &Message, word: &str) -> bool {
    let text = message.text();
    let (text, word) = (text.trim_end(), word.trim());
    let words = text.trim_end_matches(|c: char| c.is_whitespace() || c.is_ascii_punctuation());
    // A word that itself ends with punctuation is compared with the whole text.
    !word.is_empty() && (words.ends_with(word) || text.ends_with(word))
}

/// A termination rule: true if the last message [ends with `TERMINATE`](ends_with_terminate)
/// and [asks for no work](asks_for_work). Models like to write the word below code that has not run
/// yet.
pub fn is_done(history: &[Message]) -> bool {
    ends_with_terminate(history) && history.last().is_some_and(|last| !asks_for_work(last, true))
}
