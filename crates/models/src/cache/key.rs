//! The key of an answer: a hash of everything that decides it, and of nothing secret.

use std::io::{self, Write};

use cellblock_agents::ModelRequest;
use serde::Serialize;
use serde_json::Value;

/// The version of the keys. Raise it when their composition changes.
const FORMAT: &str = "cellblock model answer 2";

/// The part of the key that identifies the model.
#[derive(Debug, Serialize)]
pub struct CachedModel<'m> {
    pub provider: &'m str,
    pub name: &'m str,
    pub scope: &'m str,
    pub namespace: u64,
}

/// Returns the key of a request to a model. `None` for a request that cannot be written as JSON,
/// which cannot be sent to a provider either.
pub fn key(model: &CachedModel<'_>, request: &ModelRequest) -> Option<[u8; 32]> {
    let mut hasher = blake3::Hasher::new();
    let mut write = || -> io::Result<()> {
        // The fields of these structures have an order; large texts and images are not copied.
        serde_json::to_writer(&mut hasher, &(FORMAT, model, &request.system, &request.messages))?;
        for part in
            [serde_json::to_value(&request.tools)?, serde_json::to_value(&request.parameters)?]
        {
            write_canonical(&mut hasher, &part)?;
        }
        Ok(())
    };
    write().ok()?;
    Some(*hasher.finalize().as_bytes())
}

/// Writes a value with the fields of its objects sorted: the same schema may have another order.
pub fn write_canonical(out: &mut impl Write, value: &Value) -> io::Result<()> {
    match value {
        Value::Object(fields) => {
            let mut sorted: Vec<_> = fields.iter().collect();
            sorted.sort_by_key(|(name, _)| *name);
            out.write_all(b"{")?;
            for (name, value) in sorted {
                serde_json::to_writer(&mut *out, name)?;
                out.write_all(b":")?;
                write_canonical(out, value)?;
                out.write_all(b",")?;
            }
            out.write_all(b"}")
        }
        Value::Array(items) => {
            out.write_all(b"[")?;
            for item in items {
                write_canonical(out, item)?;
                out.write_all(b",")?;
            }
            out.write_all(b"]")
        }
        simple => Ok(serde_json::to_writer(out, simple)?),
    }
}

#[cfg(test)]
mod tests {
    use cellblock_agents::{ModelMessage, Parameters, ToolSpec};

    use super::*;

    fn request() -> ModelRequest {
        ModelRequest {
            system: "s".to_owned(),
            messages: vec![ModelMessage::User { name: None, content: "hi".into() }],
            ..ModelRequest::default()
        }
    }

    fn schema(text: &str) -> ToolSpec {
        ToolSpec {
            name: "t".into(),
            description: String::new(),
            parameters: serde_json::from_str(text).unwrap(),
        }
    }

    #[test]
    fn everything_that_decides_an_answer_is_in_the_key() {
        let model = || CachedModel { provider: "p", name: "m", scope: "", namespace: 41 };
        let original = key(&model(), &request()).unwrap();
        assert_eq!(key(&model(), &request()), Some(original));
        for other in [
            CachedModel { provider: "q", ..model() },
            CachedModel { name: "n", ..model() },
            CachedModel { scope: "http://localhost", ..model() },
            CachedModel { namespace: 42, ..model() },
        ] {
            assert_ne!(key(&other, &request()), Some(original), "{other:?}");
        }
        let message = ModelMessage::User { name: Some("ann".into()), content: "hi".into() };
        for other in [
            ModelRequest { system: "t".to_owned(), ..request() },
            ModelRequest { messages: vec![message], ..request() },
            ModelRequest { tools: vec![schema("{}")], ..request() },
            ModelRequest {
                parameters: Parameters { temperature: Some(0.5), ..Parameters::default() },
                ..request()
            },
        ] {
            assert_ne!(key(&model(), &other), Some(original), "{other:?}");
        }
    }

    #[test]
    fn the_order_of_fields_does_not_matter_and_that_of_lists_does() {
        let with = |text| {
            let request = ModelRequest { tools: vec![schema(text)], ..request() };
            key(&CachedModel { provider: "p", name: "m", scope: "", namespace: 1 }, &request)
        };
        assert_eq!(with(r#"{"a":1,"b":{"c":2,"d":3}}"#), with(r#"{"b":{"d":3,"c":2},"a":1}"#));
        assert_ne!(with(r#"{"a":[1,2]}"#), with(r#"{"a":[2,1]}"#));
    }
}
