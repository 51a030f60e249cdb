//! The table of prices: where it comes from, and how a name is found in it.

use std::{
    collections::BTreeMap,
    fmt, io,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use serde::Deserialize;

use super::Price;

/// Prices by model.
///
/// In TOML: a table `[models]` with a line `"name" = { input = 2.5, output = 10 }` for each, in US dollars per million tokens; and
/// before it `date = "2025-12-01"`, which may be left out.
#[derive(Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PriceTable {
    /// The day up to which the prices are known.
    #[serde(default)]
    pub date: String,
    /// The price of each model, by its name without a date.
    pub models: BTreeMap<String, Price>,
}

impl PriceTable {
    /// The environment variable that may hold the path of a table, whose lines come before those of the embedded one. It is
    /// read where clients are made of [configurations](crate::ModelConfig).
    pub const VARIABLE: &str = "CELLBLOCK_PRICES";

    /// The table that is part of this crate.
    pub fn embedded() -> &'static PriceTable {
        static TABLE: LazyLock<PriceTable> =
            LazyLock::new(|| match include_str!("prices.toml").parse() {
                Ok(table) => table,
                Err(error) => {
                    // A test reads the same text: this does not happen in anything that was released.
                    tracing::error!(%error, "the embedded table of prices cannot be read");
                    PriceTable::default()
                }
            });
        &TABLE
    }

    /// A table of the user's.
    ///
    /// # Errors
    /// The file cannot be read, or is not such a table.
    pub fn read(path: &Path) -> Result<Self, PriceTableError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| PriceTableError::Read { path: path.to_owned(), source })?;
        text.parse()
    }

    /// This table, and the lines of another one for models that it does not name.
    #[must_use]
    pub fn over(mut self, other: &PriceTable) -> PriceTable {
        for (name, price) in &other.models {
            self.models.entry(name.clone()).or_insert(*price);
        }
        self
    }

    /// What a model costs. A name is looked up whole, then without what stands before its last `/` (`openai/gpt-4o`), and each
    /// time also without a date or a word for the newest at its end (`gpt-4o-2024-08-06`, `mistral-large-latest`). The longest
    /// known name wins. A name that goes on in another way is another model, of which nothing is known.
    pub fn price(&self, model: &str) -> Option<Price> {
        let bare = model.rsplit('/').next().filter(|bare| bare.len() < model.len());
        [Some(model), bare].into_iter().flatten().find_map(|name| self.dated(name))
    }

    fn dated(&self, name: &str) -> Option<Price> {
        let ends = name.rmatch_indices(['-', '@', ':']).map(|(at, _)| at);
        std::iter::once(name.len())
            .chain(ends)
            .filter(|&end| is_version(&name[end..]))
            .find_map(|end| self.models.get(&name[..end]))
            .copied()
    }
}

/// Not each line: a client that holds a table is shown in errors of tests and in logs.
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

/// Whether this is nothing, or says which edition of a model is meant: `-2024-07-18`, `-0613`, `@20241022`, `-latest`. `:free` does
/// not: that is another offer. Nor does a number of one or two digits, which is a version of the model itself
/// (`claude-opus-4-5`) with a price of its own.
fn is_version(rest: &str) -> bool {
    let Some(rest) = rest.strip_prefix(['-', '@', ':']) else { return rest.is_empty() };
    let mut words = rest.split('-');
    let first = words.next().unwrap_or_default();
    let number = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    first == "latest" && words.next().is_none()
        || number(first) && first.len() >= 3 && words.all(number)
}

/// A table of prices is not one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PriceTableError {
    /// A price that no model can have.
    #[error("a price must be a number of dollars that is not negative, not {0}")]
    Number(f64),
    /// The file cannot be read.
    #[error("cannot read the table of prices {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The text is not such a table.
    #[error(
        "a table of prices needs `[models]` with lines such as `\"name\" = {{ input = 2.5, output = 10 }}`"
    )]
    Parse(#[source] Box<toml::de::Error>),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(model: &str) -> Option<f64> {
        PriceTable::embedded().price(model).map(|price| price.input)
    }

    #[test]
    fn the_embedded_table_is_whole() {
        let table: PriceTable = include_str!("prices.toml").parse().unwrap();
        assert!(table.models.len() > 50, "{}", table.models.len());
        assert_eq!(table.date.len(), "2025-01-01".len());
    }

    #[test]
    fn names_with_dates_are_found_by_the_longest_name() {
        assert_eq!(input("gpt-4o-mini-2024-07-18"), Some(0.15));
        assert_eq!(input("gpt-4-0613"), Some(30.0));
        assert_eq!(input("openai/gpt-4o-mini"), Some(0.15));
        assert_eq!(input("anthropic/claude-3-5-sonnet@20241022"), Some(3.0));
        assert_eq!(input("claude-opus-4-20250514"), Some(15.0));
        assert_eq!(input("claude-opus-4-5-20251101"), Some(5.0));
        assert_eq!(input("claude-3-5-sonnet-latest"), Some(3.0));
    }

    #[test]
    fn well_known_prices() {
        for (model, input, output) in [
            ("gpt-4", 30.0, 60.0),
            ("gpt-4-turbo", 10.0, 30.0),
            ("gpt-4o", 2.5, 10.0),
            ("gpt-4o-mini", 0.15, 0.6),
            ("gpt-3.5-turbo", 0.5, 1.5),
            ("gpt-4.1", 2.0, 8.0),
            ("o1", 15.0, 60.0),
            ("claude-3-5-sonnet", 3.0, 15.0),
            ("claude-3-haiku", 0.25, 1.25),
            ("claude-opus-4", 15.0, 75.0),
            ("claude-haiku-4-5", 1.0, 5.0),
        ] {
            assert_eq!(
                PriceTable::embedded().price(model),
                Some(Price { input, output }),
                "{model}"
            );
        }
    }

    #[test]
    fn lines_of_one_table_come_before_those_of_another() {
        let mine: PriceTable =
            "models = { gpt-4o = { input = 1, output = 2 }, mine = { input = 3, output = 4 } }"
                .parse()
                .unwrap();
        let table = mine.over(PriceTable::embedded());
        let input = |model| table.price(model).map(|price| price.input);
        assert_eq!(
            (input("gpt-4o-2024-08-06"), input("mine"), input("gpt-4")),
            (Some(1.0), Some(3.0), Some(30.0))
        );
        // A line for one edition says more than a line for the model.
        assert_eq!(input("gpt-4o-2024-05-13"), Some(5.0));
        assert!(!format!("{table:?}").contains("gpt-4"), "{table:?}");
    }

    #[test]
    fn an_edition_with_its_own_price_wins_over_the_model() {
        assert_eq!(input("gpt-4o"), Some(2.5));
        assert_eq!(input("gpt-4o-2024-05-13"), Some(5.0));
    }

    #[test]
    fn another_model_is_not_taken_for_one_that_is_known() {
        for other in [
            "gpt-4-hyper",
            "gpt-4x",
            "gpt",
            "claude-opus-4-99",
            "gpt-4o-mini-",
            "",
            "-",
            "gpt-4-latest-tuned",
            "gpt-4o:free",
        ] {
            assert_eq!(input(other), None, "{other}");
        }
    }

    #[test]
    fn a_file_of_the_user_is_read_and_errors_say_what_is_wrong() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("prices.toml");
        let absent = PriceTable::read(&path).unwrap_err().to_string();
        assert!(absent.contains("prices.toml"), "{absent}");
        std::fs::write(&path, "[models]\n\"mine\" = { input = 1, output = 2.5 }\n").unwrap();
        assert_eq!(
            PriceTable::read(&path).unwrap().price("mine-20250101"),
            Some(Price { input: 1.0, output: 2.5 })
        );
        std::fs::write(&path, "[models]\n\"mine\" = { input = 1, output = -2.5 }\n").unwrap();
        assert!(matches!(PriceTable::read(&path), Err(PriceTableError::Parse(_))));
        std::fs::write(&path, "[models]\n[modles]\n").unwrap();
        assert!(matches!(PriceTable::read(&path), Err(PriceTableError::Parse(_))));
    }
}
