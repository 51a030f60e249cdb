use super::*;

fn input(model: &str) -> Option<f64> {
    PriceTable::embedded().price(model).map(|price| price.input)
}

#[test]
fn the_embedded_table_is_complete() {
    let table: PriceTable = include_str!("../prices.toml").parse().unwrap();
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
        assert_eq!(PriceTable::embedded().price(model), Some(Price { input, output }), "{model}");
    }
}

#[test]
fn lines_of_a_table_replace_its_defaults() {
    let mine: PriceTable =
        "models = { gpt-4o = { input = 1, output = 2 }, mine = { input = 3, output = 4 } }"
            .parse()
            .unwrap();
    let table = mine.with_defaults(PriceTable::embedded());
    let input = |model| table.price(model).map(|price| price.input);
    assert_eq!(
        (input("gpt-4o-2024-08-06"), input("mine"), input("gpt-4")),
        (Some(1.0), Some(3.0), Some(30.0))
    );
    // A line for one edition is more specific than one for the model.
    assert_eq!(input("gpt-4o-2024-05-13"), Some(5.0));
    assert!(!format!("{table:?}").contains("gpt-4"), "{table:?}");
}

#[test]
fn an_edition_with_its_own_price_wins_over_the_model() {
    assert_eq!(input("gpt-4o"), Some(2.5));
    assert_eq!(input("gpt-4o-2024-05-13"), Some(5.0));
}

#[test]
fn an_unknown_model_is_not_mistaken_for_a_known_one() {
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
fn a_users_file_is_read_and_errors_name_the_cause() {
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
