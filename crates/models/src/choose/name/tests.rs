use super::*;

#[test]
fn names_are_parsed_and_displayed_alike() {
    for (name, whole) in [
        ("openai/gpt-4o-mini", "openai/gpt-4o-mini"),
        ("gpt-4o-mini", "openai/gpt-4o-mini"),
        ("o3-mini", "openai/o3-mini"),
        ("claude-3-5-sonnet-latest", "anthropic/claude-3-5-sonnet-latest"),
        (
            "openrouter/meta-llama/llama-3.1-8b-instruct:free",
            "openrouter/meta-llama/llama-3.1-8b-instruct:free",
        ),
        ("ollama/llama3.2:3b", "ollama/llama3.2:3b"),
        ("http://127.0.0.1:8080/v1#qwen", "http://127.0.0.1:8080/v1#qwen"),
        (" local ", "local"),
        ("local:/models/a b.gguf", "local:/models/a b.gguf"),
    ] {
        let parsed: ModelName = name.parse().unwrap();
        assert_eq!(parsed.to_string(), whole);
        assert_eq!(whole.parse::<ModelName>().unwrap(), parsed);
    }
}

#[test]
fn invalid_names_are_refused_with_advice() {
    for (name, advice) in [
        ("", "PROVIDER/MODEL"),
        ("llama3", "PROVIDER/MODEL"),
        ("meta-llama/llama-3", "PROVIDER/MODEL"),
        ("openai/", "after `openai/`"),
        ("local:", "path of a GGUF file"),
        ("models/a.gguf", "`local:models/a.gguf`"),
        ("http://127.0.0.1:8080/v1", "after `#`"),
        ("http://127.0.0.1:8080/v1#", "after `#`"),
    ] {
        let error = name.parse::<ModelName>().unwrap_err().to_string();
        assert!(error.contains(advice), "{name}: {error}");
    }
    let error = "http://me:sesame@a.example/v1".parse::<ModelName>().unwrap_err().to_string();
    assert!(!error.contains("sesame"), "{error}");
}

#[test]
fn the_default_is_the_provider_with_a_key() {
    let with = |set: &'static [&str]| {
        default_name_in(&Environment {
            variable: Box::new(|name| set.contains(&name).then(|| "k".to_owned())),
        })
    };
    assert_eq!(with(&[]), "local");
    assert_eq!(with(&["ANTHROPIC_API_KEY", "OPENAI_API_KEY"]), "openai/gpt-4o-mini");
    assert!(with(&["ANTHROPIC_API_KEY"]).starts_with("anthropic/claude"));
    // The names of deployments are known only to their owner.
    assert_eq!(with(&["AZURE_OPENAI_API_KEY"]), "local");
    let blank = Environment { variable: Box::new(|_| Some(" ".to_owned())) };
    assert_eq!(default_name_in(&blank), "local");
}

#[test]
fn the_table_is_consistent() {
    for (at, provider) in PROVIDERS.iter().enumerate() {
        assert!(!provider.name.is_empty() && !provider.telemetry_name.is_empty(), "{provider:?}");
        assert!(PROVIDERS[..at].iter().all(|other| other.name != provider.name), "{provider:?}");
        assert!(
            !provider.base_url.is_empty() || provider.address_variable.is_some(),
            "{provider:?}"
        );
        if let Some(model) = provider.default_model {
            let name = format!("{}/{model}", provider.name);
            assert_eq!(name.parse::<ModelName>().unwrap().to_string(), name);
        }
    }
}
