//! Writing Python source.

use std::collections::BTreeMap;

/// Returns a Python string literal. JSON's escapes mean the same in Python.
pub fn literal(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Returns a Python dictionary of strings.
pub fn dictionary(map: &BTreeMap<String, String>) -> String {
    let items: Vec<String> =
        map.iter().map(|(key, value)| format!("{}: {}", literal(key), literal(value))).collect();
    format!("{{{}}}", items.join(", "))
}
