//! The prices of a configuration's models.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use cellblock_agents::ModelError;

use super::{
    config::ModelConfig,
    environment::Environment,
    name::{ModelName, name_in},
};
use crate::price::PriceTable;

impl ModelConfig {
    /// Returns the models without a known price, fallback models included, by the names that their
    /// providers use.
    ///
    /// Their calls count as 0 dollars, so a budget in dollars does not stop them, unless the server
    /// reports the cost of a call, or an answer names a model with a known price, as deployments of
    /// Azure do. Models that cellblock or Ollama runs on this machine are known to cost nothing.
    ///
    /// ```
    /// use cellblock_models::ModelConfig;
    ///
    /// let own_server = ModelConfig::named("http://127.0.0.1:8080/v1#qwen2.5-coder");
    /// assert_eq!(own_server.unpriced()?, ["qwen2.5-coder"]);
    /// assert!(ModelConfig::named("gpt-4o-mini").unpriced()?.is_empty());
    /// # Ok::<(), cellblock_agents::ModelError>(())
    /// ```
    ///
    /// # Errors
    /// [`ModelError::Start`] for an invalid name, and if a table of prices cannot be read.
    pub fn unpriced(&self) -> Result<Vec<String>, ModelError> {
        unpriced(self, &Environment::of_process())
    }
}

/// Returns the table of a file, or else of the file that the environment names, with the embedded
/// table as its defaults. `None` means the embedded table alone.
pub fn price_table(
    file: Option<&Path>,
    environment: &Environment,
) -> Result<Option<Arc<PriceTable>>, ModelError> {
    let variable = PriceTable::VARIABLE;
    let (path, source) = match (file, environment.get(variable)) {
        (Some(file), _) => (file.to_owned(), "`prices`"),
        (None, Some(path)) => (PathBuf::from(path), variable),
        (None, None) => return Ok(None),
    };
    match PriceTable::read(&path) {
        Ok(table) => Ok(Some(Arc::new(table.with_defaults(PriceTable::embedded())))),
        Err(error) => Err(ModelError::Start {
            what: format!(
                "cannot use `{}`, which {source} names, as a table of prices",
                path.display()
            ),
            source: Some(error.into()),
        }),
    }
}

fn unpriced(config: &ModelConfig, environment: &Environment) -> Result<Vec<String>, ModelError> {
    let mut unknown = Vec::new();
    for (config, prices) in config.with_fallbacks() {
        let model = match name_in(config, environment).parse()? {
            ModelName::Local(_) => continue,
            ModelName::Provided { provider, .. } if provider.is_free => continue,
            ModelName::Provided { model, .. } | ModelName::Server { model, .. } => model,
        };
        let is_known = || -> Result<bool, ModelError> {
            let table = price_table(prices, environment)?;
            Ok(table.as_deref().unwrap_or_else(|| PriceTable::embedded()).price(&model).is_some())
        };
        if config.price.is_none() && !is_known()? && !unknown.contains(&model) {
            unknown.push(model);
        }
    }
    Ok(unknown)
}

#[cfg(test)]
mod tests;
