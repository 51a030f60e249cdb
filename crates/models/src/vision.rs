//! Models that are known by name to accept images.

/// Prefixes of the names of models that accept images.
const SEEING: &[&str] = &[
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

/// Prefixes of the exceptions to `SEEING`.
const NOT_SEEING: &[&str] = &[
    "gpt-4-turbo-preview",
    "gpt-4o-audio",
    "gpt-4o-mini-audio",
    "o1-mini",
    "o1-preview",
    "o3-mini",
];

/// True if a model is known to accept images. The part of a name before its last `/` is ignored.
pub fn sees_images(model: &str) -> bool {
    let name = model.rsplit('/').next().unwrap_or(model);
    let has_prefix = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    has_prefix(SEEING) && !has_prefix(NOT_SEEING)
}

#[cfg(test)]
mod tests {
    use super::sees_images;

    #[test]
    fn models_that_accept_images_are_recognized() {
        for model in [
            "gpt-4o-mini",
            "openai/gpt-4o",
            "claude-3-5-sonnet-20241022",
            "llava:13b",
            "o1",
            "gemini-2.0-flash",
        ] {
            assert!(sees_images(model), "{model}");
        }
        for model in
            ["gpt-4", "gpt-3.5-turbo", "o3-mini", "llama3", "mistral-large-latest", "", "my-gpt-4o"]
        {
            assert!(!sees_images(model), "{model}");
        }
    }
}
