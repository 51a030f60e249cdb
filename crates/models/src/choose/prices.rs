//! Where the prices of a configuration's models come from.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use cellblock_agents::ModelError;

use super::{
    client::{Surroundings, flat, name_of},
    config::ModelConfig,
    name::ModelName,
    providers::Kind,
};
use crate::PriceTable;

/// The table of a file, else of the one that the environment names, each before the lines of the embedded table. `None` for the
/// embedded one alone.
pub(super) fn table(
    file: Option<&Path>,
    around: &Surroundings,
) -> Result<Option<Arc<PriceTable>>, ModelError> {
    let variable = PriceTable::VARIABLE;
    let (path, by) = match (file, around.get(variable)) {
        (Some(file), _) => (file.to_owned(), "`prices`"),
        (None, Some(path)) => (PathBuf::from(path), variable),
        (None, None) => return Ok(None),
    };
    match PriceTable::read(&path) {
        Ok(table) => Ok(Some(Arc::new(table.over(PriceTable::embedded())))),
        Err(error) => Err(ModelError::Start {
            what: format!("cannot use {}, which {by} names, as a table of prices", path.display()),
            source: Some(error.into()),
        }),
    }
}

/// The models of a configuration whose price nobody knows.
pub(super) fn unpriced(
    config: &ModelConfig,
    around: &Surroundings,
) -> Result<Vec<String>, ModelError> {
    let mut unknown = Vec::new();
    for (config, prices) in flat(config) {
        let model = match name_of(config, around).parse()? {
            ModelName::Local(_) => continue,
            ModelName::Provided { provider, .. } if provider.kind == Kind::Ollama => continue,
            ModelName::Provided { model, .. } | ModelName::Server { model, .. } => model,
        };
        let known = || -> Result<bool, ModelError> {
            let table = table(prices, around)?;
            Ok(table.as_deref().unwrap_or_else(|| PriceTable::embedded()).price(&model).is_some())
        };
        if config.price.is_none() && !known()? && !unknown.contains(&model) {
            unknown.push(model);
        }
    }
    Ok(unknown)
}

#[cfg(test)]
#[path = "prices_tests.rs"]
mod tests;
