//! What models cost: a table as data, and how a call's cost comes from it.

mod table;

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

use cellblock_agents::Usage;
use serde::{Deserialize, Serialize};

pub use table::{PriceTable, PriceTableError};

/// What a model's tokens cost, in US dollars per million. In TOML and JSON `{ input = 2.5, output = 10 }`; numbers that are
/// negative or not finite are refused.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Price {
    /// For a million tokens read. What a provider gives cheaper because it was in its own cache is counted at this price
    /// too, so a cost is an upper bound.
    pub input: f64,
    /// For a million tokens written.
    pub output: f64,
}

impl Price {
    /// Of models that cost nothing, such as those on this machine.
    pub const FREE: Price = Price { input: 0.0, output: 0.0 };

    /// From US dollars per *thousand* tokens read and written, which is AutoGen's `price`.
    ///
    /// # Errors
    /// A number is negative or not finite.
    pub fn per_thousand([input, output]: [f64; 2]) -> Result<Self, PriceTableError> {
        Unchecked { input: input * 1000.0, output: output * 1000.0 }.try_into()
    }

    /// What this much costs, in US dollars.
    pub fn cost(&self, usage: Usage) -> f64 {
        (usage.prompt_tokens as f64 * self.input + usage.completion_tokens as f64 * self.output)
            / 1e6
    }
}

/// What a call costs, in US dollars: at the price that the client was given, else by its table (the embedded one if it has none)
/// and the first of the model's names that is in it, else 0 with one warning for each model and process.
pub(crate) fn cost(
    given: Option<Price>,
    table: Option<&PriceTable>,
    names: [&str; 2],
    usage: Usage,
) -> f64 {
    let table = table.unwrap_or_else(|| PriceTable::embedded());
    let known = || names.iter().find_map(|name| table.price(name));
    match given.or_else(known) {
        Some(price) => price.cost(usage),
        None => {
            let [model, _] = names;
            if first_time(model) {
                tracing::warn!(
                    model,
                    "the price of this model is unknown: its calls count as 0 dollars; set `price`, or a table with `prices` or \
                     {}",
                    PriceTable::VARIABLE
                );
            }
            0.0
        }
    }
}

fn first_time(model: &str) -> bool {
    static WARNED: Mutex<Option<HashSet<String>>> = Mutex::new(None);
    let mut warned = WARNED.lock().unwrap_or_else(PoisonError::into_inner);
    warned.get_or_insert_default().insert(model.to_owned())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    input: f64,
    output: f64,
}

impl TryFrom<Unchecked> for Price {
    type Error = PriceTableError;

    fn try_from(Unchecked { input, output }: Unchecked) -> Result<Self, Self::Error> {
        match [input, output].into_iter().find(|dollars| !dollars.is_finite() || *dollars < 0.0) {
            Some(wrong) => Err(PriceTableError::Number(wrong)),
            None => Ok(Self { input, output }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: Usage = Usage { prompt_tokens: 100, completion_tokens: 10 };

    fn same(left: f64, right: f64) {
        assert!((left - right).abs() < 1e-12, "{left} is not {right}");
    }

    #[test]
    fn case_37_cost_by_table_by_given_price_and_unknown() {
        same(cost(None, None, ["gpt-4", ""], CALL), 0.0036);
        same(cost(Some(Price::per_thousand([1.0, 2.0]).unwrap()), None, ["gpt-4", ""], CALL), 0.12);
        same(cost(None, None, ["nobody-knows-this", "nor-this"], CALL), 0.0);
        // A deployment has a name of its own; the answer says which model it is.
        same(cost(None, None, ["my-deployment", "gpt-4-0613"], CALL), 0.0036);
    }

    #[test]
    fn a_model_under_its_dated_name_costs_what_autogens_introduction_shows() {
        let usage = Usage { prompt_tokens: 481, completion_tokens: 104 };
        same(cost(None, None, ["gpt-4o-mini-2024-07-18", ""], usage), 0.00013455);
        same(cost(None, None, ["gpt-4o-mini", "gpt-4o-mini-2024-07-18"], usage), 0.00013455);
    }

    #[test]
    fn a_table_of_the_client_comes_before_the_embedded_one_and_after_a_price() {
        let table: PriceTable = "models = { gpt-4 = { input = 1, output = 2 } }".parse().unwrap();
        same(cost(None, Some(&table), ["gpt-4", ""], CALL), 0.00012);
        same(cost(Some(Price::FREE), Some(&table), ["gpt-4", ""], CALL), 0.0);
        // It is the whole table, unless it was put over another one.
        same(cost(None, Some(&table), ["gpt-4o", ""], CALL), 0.0);
        same(cost(None, Some(&table.over(PriceTable::embedded())), ["gpt-4o", ""], CALL), 0.00035);
    }

    #[test]
    fn the_warning_comes_once() {
        assert!(first_time("a model that only this test names"));
        assert!(!first_time("a model that only this test names"));
    }

    #[test]
    fn prices_that_make_no_sense_are_refused() {
        assert!(Price::per_thousand([-1.0, 2.0]).is_err());
        assert!(Price::per_thousand([1.0, f64::NAN]).is_err());
        assert!(serde_json::from_str::<Price>(r#"{"input": 1, "output": -2}"#).is_err());
        assert!(
            serde_json::from_str::<Price>(r#"{"input": 1, "output": 2, "cached": 1}"#).is_err()
        );
        assert_eq!(
            serde_json::from_str::<Price>(r#"{"input": 1, "output": 2}"#).unwrap(),
            Price { input: 1.0, output: 2.0 }
        );
    }
}
