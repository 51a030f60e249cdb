//! Writing Python source.

use std::collections::BTreeMap;

/// A Python string literal. JSON's escapes mean the same in Python.
pub(crate) fn literal(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A Python dictionary of strings.
pub(crate) fn dictionary(map: &BTreeMap<String, String>) -> String {
    let items: Vec<String> =
        map.iter().map(|(key, value)| format!("{}: {}", literal(key), literal(value))).collect();
    format!("{{{}}}", items.join(", "))
}
