//! Which models see images, as far as it is known by name.

/// How the names of models that see begin.
const SEE: &[&str] = &[
    "chatgpt-4o",
    "claude-3",
    "claude-haiku-4",
    "claude-opus-4",
    "claude-sonnet-4",
    "gemini-",
    "gemma3",
    "gpt-4-turbo",
    "gpt-4.1",
    "gpt-4.5",
    "gpt-4o",
    "gpt-5",
    "grok-4",
    "llama3.2-vision",
    "llama4",
    "llava",
    "minicpm-v",
    "moondream",
    "o1",
    "o3",
    "o4-mini",
    "pixtral",
    "qwen2.5vl",
    "qwen3-vl",
];

/// How the names of models begin that do not see, although the table above would have them see.
const BLIND: &[&str] = &[
    "gpt-4-turbo-preview",
    "gpt-4o-audio",
    "gpt-4o-mini-audio",
    "o1-mini",
    "o1-preview",
    "o3-mini",
];

/// Whether a model is known to see images. What stands before the last `/` of a name does not count.
pub(crate) fn sees(model: &str) -> bool {
    let name = model.rsplit('/').next().unwrap_or(model);
    let begins =
        |beginnings: &[&str]| beginnings.iter().any(|beginning| name.starts_with(beginning));
    begins(SEE) && !begins(BLIND)
}

#[cfg(test)]
mod tests {
    use super::sees;

    #[test]
    fn models_that_see_are_told_from_those_that_do_not() {
        for model in [
            "gpt-4o-mini",
            "openai/gpt-4o",
            "claude-3-5-sonnet-20241022",
            "llava:13b",
            "o1",
            "gemini-2.0-flash",
        ] {
            assert!(sees(model), "{model}");
        }
        for model in
            ["gpt-4", "gpt-3.5-turbo", "o3-mini", "llama3", "mistral-large-latest", "", "my-gpt-4o"]
        {
            assert!(!sees(model), "{model}");
        }
    }
}
