//! The key of an answer: a hash of all that decides it, and of nothing secret.

use std::io::{self, Write};

use cellblock_agents::ModelRequest;
use serde::Serialize;
use serde_json::Value;

/// Raised when the way keys are made changes.
const FORMAT: &str = "cellblock model answer 2";

/// Which model is asked.
#[derive(Debug, Serialize)]
pub(super) struct Model<'m> {
    pub(super) provider: &'m str,
    pub(super) name: &'m str,
    pub(super) scope: &'m str,
    pub(super) namespace: u64,
}

/// The key of a request to a model. `None` for one that cannot be written as JSON, which no provider could be sent either.
pub(super) fn key(model: &Model<'_>, request: &ModelRequest) -> Option<[u8; 32]> {
    let mut hasher = blake3::Hasher::new();
    let mut write = || -> io::Result<()> {
        // These are structures, whose fields have an order; large texts and images are not copied.
        serde_json::to_writer(&mut hasher, &(FORMAT, model, &request.system, &request.messages))?;
        for part in
            [serde_json::to_value(&request.tools)?, serde_json::to_value(&request.parameters)?]
        {
            canonical(&mut hasher, &part)?;
        }
        Ok(())
    };
    write().ok()?;
    Some(*hasher.finalize().as_bytes())
}

/// Writes a value with the fields of its objects sorted: the same schema may come in another order.
pub(super) fn canonical(out: &mut impl Write, value: &Value) -> io::Result<()> {
    match value {
        Value::Object(fields) => {
            let mut sorted: Vec<_> = fields.iter().collect();
            sorted.sort_by_key(|(name, _)| *name);
            out.write_all(b"{")?;
            for (name, value) in sorted {
                serde_json::to_writer(&mut *out, name)?;
                out.write_all(b":")?;
                canonical(out, value)?;
                out.write_all(b",")?;
            }
            out.write_all(b"}")
        }
        Value::Array(items) => {
            out.write_all(b"[")?;
            for item in items {
                canonical(out, item)?;
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
    fn all_that_decides_an_answer_is_in_the_key() {
        let model = || Model { provider: "p", name: "m", scope: "", namespace: 41 };
        let known = key(&model(), &request()).unwrap();
        assert_eq!(key(&model(), &request()), Some(known));
        for other in [
            Model { provider: "q", ..model() },
            Model { name: "n", ..model() },
            Model { scope: "http://localhost", ..model() },
            Model { namespace: 42, ..model() },
        ] {
            assert_ne!(key(&other, &request()), Some(known), "{other:?}");
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
            assert_ne!(key(&model(), &other), Some(known), "{other:?}");
        }
    }

    #[test]
    fn the_order_of_fields_does_not_matter_and_that_of_lists_does() {
        let with = |text| {
            let request = ModelRequest { tools: vec![schema(text)], ..request() };
            key(&Model { provider: "p", name: "m", scope: "", namespace: 1 }, &request)
        };
        assert_eq!(with(r#"{"a":1,"b":{"c":2,"d":3}}"#), with(r#"{"b":{"d":3,"c":2},"a":1}"#));
        assert_ne!(with(r#"{"a":[1,2]}"#), with(r#"{"a":[2,1]}"#));
    }
}
