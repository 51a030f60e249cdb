//! The scope of a client: everything that decides its answers besides the request.

use cellblock_agents::{ModelClient, scripted::ScriptedModel};
use serde_json::Value;

use super::key::write_canonical;

/// A model whose answers can be cached, because it knows what decides them.
pub trait Cacheable: ModelClient {
    /// Returns everything that decides its answers besides the request, its name and its provider:
    /// its address, its defaults for open parameters, the form in which it sends images.
    ///
    /// Two clients have the same scope only if their answers are interchangeable. The scope holds
    /// nothing secret. So it omits headers: if yours change the answers, use another namespace.
    fn scope(&self) -> String;
}

/// A script cannot be compared, so scripts with the same name are the same model to a cache.
impl Cacheable for ScriptedModel {
    fn scope(&self) -> String {
        String::new()
    }
}

/// Writes a scope as canonical JSON, independent of the order of its fields.
pub fn scope_of(parts: &Value) -> String {
    let mut text = Vec::new();
    match write_canonical(&mut text, parts) {
        Ok(()) => String::from_utf8_lossy(&text).into_owned(),
        // Writing into memory does not fail; this form is equivalent.
        Err(_) => parts.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_order_of_fields_does_not_matter() {
        let read = |text: &str| scope_of(&serde_json::from_str(text).unwrap());
        assert_eq!(read(r#"{"a":1,"b":{"c":2,"d":3}}"#), read(r#"{"b":{"d":3,"c":2},"a":1}"#));
        assert_ne!(scope_of(&json!({"a": 1})), scope_of(&json!({"a": 2})));
    }
}
