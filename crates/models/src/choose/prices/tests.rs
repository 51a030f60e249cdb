use std::fs;

use cellblock_exec::{Silent, with_causes};

use super::*;
use crate::choose::{CacheChoice, client::client};

/// Returns an environment in which the variable names a file.
fn naming(path: Option<PathBuf>) -> Environment {
    Environment {
        variable: Box::new(move |name| match name {
            PriceTable::VARIABLE => path.as_ref().map(|path| path.display().to_string()),
            name => name.ends_with("_API_KEY").then(|| "sk-1".to_owned()),
        }),
    }
}

fn write(directory: &tempfile::TempDir, name: &str, text: &str) -> PathBuf {
    let path = directory.path().join(name);
    fs::write(&path, text).unwrap();
    path
}

fn input(table: &Option<Arc<PriceTable>>, model: &str) -> Option<f64> {
    table.as_deref().unwrap().price(model).map(|price| price.input)
}

#[test]
fn the_table_of_the_configuration_precedes_that_of_the_environment() {
    let directory = tempfile::tempdir().unwrap();
    let everywhere = write(&directory, "a.toml", "models = { gpt-4o = { input = 7, output = 8 } }");
    let own = write(&directory, "b.toml", "models = { gpt-4o = { input = 9, output = 8 } }");
    let environment = naming(Some(everywhere));
    let by_environment = price_table(None, &environment).unwrap();
    assert_eq!(
        (input(&by_environment, "gpt-4o"), input(&by_environment, "gpt-4")),
        (Some(7.0), Some(30.0))
    );
    assert_eq!(input(&price_table(Some(&own), &environment).unwrap(), "gpt-4o"), Some(9.0));
    assert_eq!(price_table(None, &naming(None)).unwrap(), None);
}

#[tokio::test]
async fn a_table_that_cannot_be_used_is_refused_with_its_source() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing.toml");
    let wrong = write(&directory, "wrong.toml", "[models]\ngpt-4o = 3\n");
    let named = ModelConfig { cache: CacheChoice::Off, ..ModelConfig::named("gpt-4o") };
    let config = |path: &PathBuf| ModelConfig { prices: Some(path.clone()), ..named.clone() };
    for (config, environment, says) in [
        (
            named.clone(),
            naming(Some(missing.clone())),
            ["missing.toml", "CELLBLOCK_PRICES names", "No such file"],
        ),
        (config(&missing), naming(None), ["missing.toml", "`prices` names", "No such file"]),
        (config(&wrong), naming(None), ["wrong.toml", "`[models]` with lines such as", "line 2"]),
    ] {
        let made = client(&config, &environment, &Silent).await.unwrap_err();
        let asked = unpriced(&config, &environment).unwrap_err();
        for error in [made, asked] {
            let error = with_causes(&error);
            assert!(says.iter().all(|part| error.contains(part)), "{error}");
        }
    }
    // Control.
    let good = write(&directory, "good.toml", "models = { gpt-4o = { input = 7, output = 8 } }");
    assert!(client(&config(&good), &naming(None), &Silent).await.is_ok());
}

#[test]
fn models_without_a_price_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let mine = write(&directory, "mine.toml", "models = { my-model = { input = 7, output = 8 } }");
    let nowhere = || naming(None);
    for (name, unknown) in [
        ("gpt-4o-mini", vec![]),
        ("openrouter/openai/gpt-4o-mini", vec![]),
        ("local", vec![]),
        ("local:/nowhere/model.gguf", vec![]),
        ("ollama/my-model", vec![]),
        ("gpt-99", vec!["gpt-99"]),
        ("azure/my-model", vec!["my-model"]),
        ("http://127.0.0.1:1/v1#my-model", vec!["my-model"]),
    ] {
        assert_eq!(unpriced(&ModelConfig::named(name), &nowhere()).unwrap(), unknown, "{name}");
    }
    // Without a name, the default model is used.
    assert!(unpriced(&ModelConfig::default(), &nowhere()).unwrap().is_empty());
    assert!(unpriced(&ModelConfig::named("no such provider"), &nowhere()).is_err());

    let unknown = ModelConfig::named("azure/my-model");
    let priced = ModelConfig { price: Some(crate::Price::FREE), ..unknown.clone() };
    let tabled = ModelConfig { prices: Some(mine.clone()), ..unknown.clone() };
    assert!(unpriced(&priced, &nowhere()).unwrap().is_empty());
    assert!(unpriced(&tabled, &nowhere()).unwrap().is_empty());
    assert!(unpriced(&unknown, &naming(Some(mine.clone()))).unwrap().is_empty());

    // Fallback models count; they inherit the table of the model before them, but not its price.
    let fallback = vec![unknown.clone(), unknown, ModelConfig::named("gpt-99")];
    let config =
        ModelConfig { price: Some(crate::Price::FREE), fallback, ..ModelConfig::named("gpt-4o") };
    assert_eq!(unpriced(&config, &nowhere()).unwrap(), ["my-model", "gpt-99"]);
    let config = ModelConfig { prices: Some(mine), ..config };
    assert_eq!(unpriced(&config, &nowhere()).unwrap(), ["gpt-99"]);
}
