//! Keeps keys out of messages: servers repeat the key that they refuse, and their words end up in
//! messages and logs.

use secrecy::{ExposeSecret, SecretString};

/// The maximum of characters of a provider's text that a message repeats.
const MAX_SHOWN: usize = 500;

/// Returns the text of a provider as it may be shown: without secrets, on one line, and shortened.
pub fn shown(text: &str, secrets: &[&SecretString]) -> String {
    // Secrets are removed first: half of one would not be found.
    let line = without(text, secrets).split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MAX_SHOWN) {
        None => line,
        Some(_) => line.chars().take(MAX_SHOWN - 1).chain(['…']).collect(),
    }
}

/// Replaces secrets in a text. A value of fewer than four characters is no secret, and would be
/// found everywhere.
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
    fn secrets_are_replaced_and_nothing_else() {
        let key = SecretString::from("sk-sesame\n");
        let short = SecretString::from("a");
        let hidden = shown("wrong key sk-sesame, a pity:\n 'sk-sesame'", &[&key, &short]);
        assert_eq!(hidden, "wrong key [key], a pity: '[key]'");
    }

    #[test]
    fn long_texts_are_cut_and_no_half_secret_remains() {
        let key = SecretString::from("sk-sesame");
        let text = format!("{} sk-sesame {}", "ä".repeat(490), "b".repeat(600));
        let line = shown(&text, &[&key]);
        assert!(line.chars().count() <= MAX_SHOWN, "{}", line.chars().count());
        assert!(line.ends_with('…') && !line.contains("sk-"), "{line}");
        let words = shown(&"word ".repeat(1000), &[]);
        assert_eq!(words.chars().count(), MAX_SHOWN, "{words}");
        // Control: a short text stays whole.
        assert_eq!(shown(&"ä".repeat(MAX_SHOWN), &[]), "ä".repeat(MAX_SHOWN));
    }
}
