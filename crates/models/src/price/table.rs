//! The table of prices: its sources, and the lookup of a name.

use std::{
    collections::BTreeMap,
    fmt, io,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use serde::Deserialize;

use super::Price;

/// The prices of models.
///
/// In TOML: a table `[models]` with a line `"name" = { input = 2.5, output = 10 }` for each model,
/// in US dollars per million tokens; before it optionally `date = "2025-12-01"`.
#[derive(Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PriceTable {
    /// The day up to which the prices are valid.
    #[serde(default)]
    pub date: String,
    /// The price of each model, by its name without a date.
    pub models: BTreeMap<String, Price>,
}

impl PriceTable {
    /// The environment variable that may hold the path of a table. Its lines replace those of the
    /// embedded table. It is read when a [configuration](crate::ModelConfig) becomes a client.
    pub const VARIABLE: &str = "CELLBLOCK_PRICES";

    /// Returns the table that is part of this crate.
    pub fn embedded() -> &'static PriceTable {
        static TABLE: LazyLock<PriceTable> =
            LazyLock::new(|| match include_str!("prices.toml").parse() {
                Ok(table) => table,
                Err(error) => {
                    // A test parses the same text, so no release gets here.
                    tracing::error!(%error, "the embedded table of prices is invalid");
                    PriceTable::default()
                }
            });
        &TABLE
    }

    /// Reads the table of a user.
    ///
    /// # Errors
    /// The file cannot be read, or is not such a table.
    pub fn read(path: &Path) -> Result<Self, PriceTableError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| PriceTableError::Read { path: path.to_owned(), source })?;
        text.parse()
    }

    /// Adds the lines of `defaults` for models that this table does not name.
    #[must_use]
    pub fn with_defaults(mut self, defaults: &PriceTable) -> PriceTable {
        for (name, price) in &defaults.models {
            self.models.entry(name.clone()).or_insert(*price);
        }
        self
    }

    /// Returns the price of a model; `None` if it is unknown.
    ///
    /// A name is looked up as it is, then without the part before its last `/` (`openai/gpt-4o`),
    /// and each time also without a date or `latest` at its end (`gpt-4o-2024-08-06`,
    /// `mistral-large-latest`). The longest known name wins. A name with any other ending is
    /// another model.
    pub fn price(&self, model: &str) -> Option<Price> {
        let bare = model.rsplit('/').next().filter(|bare| bare.len() < model.len());
        [Some(model), bare].into_iter().flatten().find_map(|name| self.dated(name))
    }

    fn dated(&self, name: &str) -> Option<Price> {
        let ends = name.rmatch_indices(['-', '@', ':']).map(|(at, _)| at);
        std::iter::once(name.len())
            .chain(ends)
            .filter(|&end| is_edition(&name[end..]))
            .find_map(|end| self.models.get(&name[..end]))
            .copied()
    }
}

/// Omits the lines: clients that hold a table appear in logs.
impl fmt::Debug for PriceTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PriceTable")
            .field("date", &self.date)
            .field("models", &self.models.len())
            .finish()
    }
}

impl std::str::FromStr for PriceTable {
    type Err = PriceTableError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        toml::from_str(text).map_err(|error| PriceTableError::Parse(Box::new(error)))
    }
}

/// True if the rest of a name is empty or an edition of the model: `-2024-07-18`, `-0613`,
/// `@20241022`, `-latest`.
///
/// `:free` is not an edition but another offer. A number of one or two digits is a version of the
/// model itself (`claude-opus-4-5`) with its own price.
fn is_edition(rest: &str) -> bool {
    let Some(rest) = rest.strip_prefix(['-', '@', ':']) else { return rest.is_empty() };
    let mut words = rest.split('-');
    let first = words.next().unwrap_or_default();
    let number = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    first == "latest" && words.next().is_none()
        || number(first) && first.len() >= 3 && words.all(number)
}

/// The reason why a table of prices cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PriceTableError {
    /// A price is negative or not finite.
    #[error("a price must be a number of dollars, 0 or more, not `{0}`")]
    InvalidPrice(f64),
    /// The file cannot be read.
    #[error("cannot read the table of prices `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The text is not a table of prices.
    #[error(
        "a table of prices needs `[models]` with lines such as \
         `\"name\" = {{ input = 2.5, output = 10 }}`"
    )]
    Parse(#[source] Box<toml::de::Error>),
}

#[cfg(test)]
mod tests;
