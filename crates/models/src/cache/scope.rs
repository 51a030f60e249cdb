//! What decides a model's answers besides the request.

use cellblock_agents::{ModelClient, scripted::ScriptedModel};
use serde_json::Value;

use super::key::canonical;

/// A model whose answers can be kept, because it can tell what decides them.
pub trait Cacheable: ModelClient {
    /// All that decides its answers besides the request, its name and its provider: where it is, what it puts where a request
    /// leaves something open, how it sends pictures. It is the same for the same, and another for anything else. Nothing secret
    /// is in it; in particular further headers are not, so whoever changes answers by one takes another namespace.
    fn scope(&self) -> String;
}

/// A script cannot be seen from outside, so scripts of one name are one model to a cache.
impl Cacheable for ScriptedModel {
    fn scope(&self) -> String {
        String::new()
    }
}

/// A scope of several parts.
pub(crate) fn scope_of(parts: &Value) -> String {
    let mut text = Vec::new();
    match canonical(&mut text, parts) {
        Ok(()) => String::from_utf8_lossy(&text).into_owned(),
        // Writing into memory does not fail; this says the same in another form.
        Err(_) => parts.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use cellblock_agents::Parameters;
    use serde_json::json;

    use super::*;
    use crate::{Anthropic, Names, Ollama, OpenAi};

    fn warm() -> Parameters {
        Parameters { temperature: Some(0.7), ..Parameters::default() }
    }

    #[test]
    fn the_order_of_fields_does_not_matter() {
        let read = |text: &str| scope_of(&serde_json::from_str(text).unwrap());
        assert_eq!(read(r#"{"a":1,"b":{"c":2,"d":3}}"#), read(r#"{"b":{"d":3,"c":2},"a":1}"#));
        assert_ne!(scope_of(&json!({"a": 1})), scope_of(&json!({"a": 2})));
    }

    #[test]
    fn whatever_a_client_adds_to_a_request_is_in_its_scope() {
        let usual = || OpenAi::new("https://a.example/v1", "m");
        let extra = [("logprobs".to_owned(), true.into())].into_iter().collect();
        let seeded = Parameters { seed: Some(1), ..Parameters::default() };
        for other in [
            OpenAi { base_url: "https://b.example/v1".to_owned(), ..usual() },
            OpenAi { parameters: warm(), ..usual() },
            OpenAi { parameters: seeded, ..usual() },
            OpenAi { parameters: Parameters { extra, ..Parameters::default() }, ..usual() },
            OpenAi { sees_images: true, ..usual() },
            OpenAi { names: Names::Field, ..usual() },
            OpenAi { query: vec![("api-version".to_owned(), "2".to_owned())], ..usual() },
        ] {
            assert_ne!(other.scope(), usual().scope(), "{other:?}");
        }
        // Control: what decides no answer is not in it.
        let same = OpenAi {
            stream: false,
            key: Some("sk-secret".into()),
            price: Some(crate::Price::FREE),
            ..usual()
        };
        assert_eq!(same.scope(), usual().scope());

        let usual = || Anthropic::new("m");
        for other in [
            Anthropic { base_url: "https://b.example/v1".to_owned(), ..usual() },
            Anthropic { parameters: warm(), ..usual() },
            Anthropic { sees_images: !usual().sees_images, ..usual() },
        ] {
            assert_ne!(other.scope(), usual().scope(), "{other:?}");
        }
        let usual = || Ollama::new("m");
        for other in [
            Ollama { base_url: "https://b.example".to_owned(), ..usual() },
            Ollama { parameters: warm(), ..usual() },
            Ollama { sees_images: !usual().sees_images, ..usual() },
        ] {
            assert_ne!(other.scope(), usual().scope(), "{other:?}");
        }
    }
}
