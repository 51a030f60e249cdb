use super::*;

const CALL: Usage = Usage { prompt_tokens: 100, completion_tokens: 10 };

fn cost(price: Option<Price>, table: Option<&PriceTable>, names: [&str; 2], usage: Usage) -> f64 {
    Pricing { price, table }.cost(None, names, usage)
}

fn assert_same(left: f64, right: f64) {
    assert!((left - right).abs() < 1e-12, "{left} is not {right}");
}

#[test]
fn case_37_cost_by_table_by_given_price_and_unknown() {
    assert_same(cost(None, None, ["gpt-4", ""], CALL), 0.0036);
    let given = Price::per_thousand([1.0, 2.0]).unwrap();
    assert_same(cost(Some(given), None, ["gpt-4", ""], CALL), 0.12);
    assert_same(cost(None, None, ["nobody-knows-this", "nor-this"], CALL), 0.0);
    // The name of a deployment is arbitrary; the answer names the model.
    assert_same(cost(None, None, ["my-deployment", "gpt-4-0613"], CALL), 0.0036);
}

#[test]
fn a_reported_cost_is_used_unless_a_price_was_given() {
    let pricing = Pricing { price: None, table: None };
    assert_same(pricing.cost(Some(0.25), ["gpt-4", ""], CALL), 0.25);
    let given = Pricing { price: Some(Price::FREE), ..pricing };
    assert_same(given.cost(Some(0.25), ["gpt-4", ""], CALL), 0.0);
}

#[test]
fn a_model_under_its_dated_name_costs_what_autogens_introduction_shows() {
    let usage = Usage { prompt_tokens: 481, completion_tokens: 104 };
    assert_same(cost(None, None, ["gpt-4o-mini-2024-07-18", ""], usage), 0.00013455);
    assert_same(cost(None, None, ["gpt-4o-mini", "gpt-4o-mini-2024-07-18"], usage), 0.00013455);
}

#[test]
fn a_given_price_precedes_the_clients_table_which_replaces_the_embedded_one() {
    let table: PriceTable = "models = { gpt-4 = { input = 1, output = 2 } }".parse().unwrap();
    assert_same(cost(None, Some(&table), ["gpt-4", ""], CALL), 0.00012);
    assert_same(cost(Some(Price::FREE), Some(&table), ["gpt-4", ""], CALL), 0.0);
    // It is the whole table, unless it was merged with another one.
    assert_same(cost(None, Some(&table), ["gpt-4o", ""], CALL), 0.0);
    let merged = table.with_defaults(PriceTable::embedded());
    assert_same(cost(None, Some(&merged), ["gpt-4o", ""], CALL), 0.00035);
}

#[test]
fn the_warning_comes_once() {
    assert!(is_first_time("a model that only this test names"));
    assert!(!is_first_time("a model that only this test names"));
}

#[test]
fn invalid_prices_are_refused() {
    assert!(Price::per_thousand([-1.0, 2.0]).is_err());
    assert!(Price::per_thousand([1.0, f64::NAN]).is_err());
    assert!(serde_json::from_str::<Price>(r#"{"input": 1, "output": -2}"#).is_err());
    assert!(serde_json::from_str::<Price>(r#"{"input": 1, "output": 2, "cached": 1}"#).is_err());
    assert_eq!(
        serde_json::from_str::<Price>(r#"{"input": 1, "output": 2}"#).unwrap(),
        Price { input: 1.0, output: 2.0 }
    );
}
