//! The prices of models: a table as data, and the cost of a call.

mod table;

use std::collections::HashSet;

use cellblock_agents::Usage;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

pub use table::{PriceTable, PriceTableError};

/// The price of a model's tokens, in US dollars per million. In TOML and JSON
/// `{ input = 2.5, output = 10 }`; numbers that are negative or not finite are refused.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "UncheckedPrice")]
pub struct Price {
    /// The price of a million input tokens. Tokens from a provider's own cache, which are cheaper,
    /// are counted at this price too, so a cost is an upper bound.
    pub input: f64,
    /// The price of a million output tokens.
    pub output: f64,
}

impl Price {
    /// The price of models that cost nothing, such as those on this machine.
    pub const FREE: Price = Price { input: 0.0, output: 0.0 };

    /// Converts US dollars per *thousand* input and output tokens, AutoGen's `price`.
    ///
    /// # Errors
    /// A number is negative or not finite.
    pub fn per_thousand([input, output]: [f64; 2]) -> Result<Self, PriceTableError> {
        UncheckedPrice { input: input * 1000.0, output: output * 1000.0 }.try_into()
    }

    /// Returns the cost of this many tokens, in US dollars.
    pub fn cost(&self, usage: Usage) -> f64 {
        (usage.prompt_tokens as f64 * self.input + usage.completion_tokens as f64 * self.output)
            / 1e6
    }
}

/// The prices that a client knows.
#[derive(Debug, Clone, Copy)]
pub struct Pricing<'a> {
    /// The price that the client was given.
    pub price: Option<Price>,
    /// The table to look up other prices in; `None` for the embedded one.
    pub table: Option<&'a PriceTable>,
}

impl Pricing<'_> {
    /// Returns the cost of a call in US dollars: at the client's own price, or else as the server
    /// reported it, or else at the price of the first of the model's `names` that the table has.
    /// The cost of any other model is 0, with one warning per model and process.
    pub fn cost(self, reported: Option<f64>, names: [&str; 2], usage: Usage) -> f64 {
        if let (None, Some(reported)) = (self.price, reported) {
            return reported;
        }
        let table = self.table.unwrap_or_else(|| PriceTable::embedded());
        let from_table = || names.iter().find_map(|name| table.price(name));
        match self.price.or_else(from_table) {
            Some(price) => price.cost(usage),
            None => {
                let [model, _] = names;
                if is_first_time(model) {
                    tracing::warn!(
                        model,
                        "the price of this model is unknown: its calls count as 0 dollars; \
                         set `price`, or a table with `prices` or {}",
                        PriceTable::VARIABLE
                    );
                }
                0.0
            }
        }
    }
}

fn is_first_time(model: &str) -> bool {
    static WARNED: Mutex<Option<HashSet<String>>> = Mutex::new(None);
    WARNED.lock().get_or_insert_default().insert(model.to_owned())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UncheckedPrice {
    input: f64,
    output: f64,
}

impl TryFrom<UncheckedPrice> for Price {
    type Error = PriceTableError;

    fn try_from(UncheckedPrice { input, output }: UncheckedPrice) -> Result<Self, Self::Error> {
        match [input, output].into_iter().find(|dollars| !dollars.is_finite() || *dollars < 0.0) {
            Some(invalid) => Err(PriceTableError::InvalidPrice(invalid)),
            None => Ok(Self { input, output }),
        }
    }
}

#[cfg(test)]
mod tests;
