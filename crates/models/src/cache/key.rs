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
mod tests;
