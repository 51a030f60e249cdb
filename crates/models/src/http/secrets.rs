//! Keeps keys out of what is said: servers repeat the key that they refuse, and what they say ends in messages.

use secrecy::{ExposeSecret, SecretString};

/// The most characters of a provider's own words that a message repeats.
const SHOWN: usize = 500;

/// A text of a provider's as it may be shown: without secrets, in one line, and not too long.
pub(super) fn shown(text: &str, secrets: &[&SecretString]) -> String {
    // Secrets go first: half of one would not be found.
    let line = without(text, secrets).split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(SHOWN) {
        None => line,
        Some(_) => line.chars().take(SHOWN - 1).chain(['…']).collect(),
    }
}

/// Takes secrets out of a text. What is shorter than four characters is no secret, and would be found everywhere.
fn without(text: &str, secrets: &[&SecretString]) -> String {
    secrets
        .iter()
        .map(|secret| secret.expose_secret().trim())
        .filter(|secret| secret.len() >= 4)
        .fold(text.to_owned(), |text, secret| {
            if text.contains(secret) { text.replace(secret, "[key]") } else { text }
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_taken_out_and_nothing_else() {
        let key = SecretString::from("sk-sesame\n");
        let short = SecretString::from("a");
        let hidden = shown("wrong key sk-sesame, a pity:\n 'sk-sesame'", &[&key, &short]);
        assert_eq!(hidden, "wrong key [key], a pity: '[key]'");
    }

    #[test]
    fn long_texts_are_cut_and_no_half_secret_is_left() {
        let key = SecretString::from("sk-sesame");
        let text = format!("{} sk-sesame {}", "ä".repeat(490), "b".repeat(600));
        let line = shown(&text, &[&key]);
        assert!(line.chars().count() <= SHOWN, "{}", line.chars().count());
        assert!(line.ends_with('…') && !line.contains("sk-"), "{line}");
        let words = shown(&"word ".repeat(1000), &[]);
        assert_eq!(words.chars().count(), SHOWN, "{words}");
        // Control: what is short enough stays whole.
        assert_eq!(shown(&"ä".repeat(SHOWN), &[]), "ä".repeat(SHOWN));
    }
}
