use std::{net::SocketAddr, time::Duration};

use axum::{
    Json, Router,
    extract::{Request, State},
};
use cellblock_agents::{ModelMessage, ModelRequest};
use cellblock_exec::Silent;

use super::*;
use crate::{choose::Seconds, price::Price};

/// Starts a server that answers every request; it also returns the requests that it gets: address,
/// key and body.
async fn server() -> (SocketAddr, Arc<Mutex<Vec<[String; 3]>>>) {
    let got: Arc<Mutex<Vec<[String; 3]>>> = Arc::default();
    let answer = async |State(got): State<Arc<Mutex<Vec<[String; 3]>>>>, request: Request| {
        let (parts, body) = request.into_parts();
        let header = |name: &str| Some(parts.headers.get(name)?.to_str().unwrap().to_owned());
        let key = header("authorization").or_else(|| header("api-key")).unwrap_or_default();
        let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        let body = String::from_utf8(body.to_vec()).unwrap();
        got.lock().push([parts.uri.to_string(), key, body]);
        Json(serde_json::json!({
            "model": "m",
            "choices": [{"message": {"role": "assistant", "content": "hello"},
                "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 100, "completion_tokens": 10}
        }))
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new().fallback(answer).with_state(got.clone());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (address, got)
}

fn environment() -> Environment {
    Environment {
        variable: Box::new(|name| match name {
            "OPENAI_API_KEY" => Some("sk-openai".to_owned()),
            "MY_KEY" => Some("sk-mine".to_owned()),
            "EMPTY_KEY" => Some(String::new()),
            _ => None,
        }),
    }
}

async fn made(config: &ModelConfig) -> Result<Arc<dyn ModelClient>, ModelError> {
    client(config, &environment(), &Silent).await
}

/// Returns a configuration without a cache.
fn named(name: &str) -> ModelConfig {
    ModelConfig { cache: CacheChoice::Off, ..ModelConfig::named(name) }
}

fn asked(text: &str) -> ModelRequest {
    let messages = vec![ModelMessage::User { name: None, content: text.into() }];
    ModelRequest { messages, ..ModelRequest::default() }
}

#[tokio::test]
async fn a_configuration_becomes_a_client() {
    let (address, got) = server().await;
    let mut config = named("gpt-4o-mini");
    config.base_url = Some(format!("http://{address}/v1"));
    config.key_env = Some("MY_KEY".to_owned());
    config.parameters.temperature = Some(0.25);
    config.price = Some(Price { input: 1000.0, output: 2000.0 });
    config.timeout = Some(Seconds(Duration::from_secs(30)));
    let client = made(&config).await.unwrap();
    assert_eq!(
        (client.name(), client.provider(), client.sees_images()),
        ("gpt-4o-mini", "openai", true)
    );
    let answer = client.complete(&asked("hi"), None).await.unwrap();
    assert_eq!((answer.content.as_str(), answer.cost), ("hello", 0.12));
    let [uri, key, body] = got.lock()[0].clone();
    assert_eq!((uri.as_str(), key.as_str()), ("/v1/chat/completions", "Bearer sk-mine"));
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((&body["temperature"], &body["model"]), (&0.25.into(), &"gpt-4o-mini".into()));
}

#[tokio::test]
async fn a_providers_key_goes_to_its_provider_only() {
    let (address, got) = server().await;
    let elsewhere = ModelConfig {
        base_url: Some(format!("http://{address}/v1")),
        ..named("openai/gpt-4o-mini")
    };
    let server = named(&format!("http://{address}/v1#gpt-4o-mini"));
    for config in [&elsewhere, &server] {
        made(config).await.unwrap().complete(&asked("hi"), None).await.unwrap();
        assert_eq!(got.lock().pop().unwrap()[1], "");
        // Control: a key that is meant for it.
        let config = ModelConfig { key_env: Some("OPENAI_API_KEY".to_owned()), ..config.clone() };
        made(&config).await.unwrap().complete(&asked("hi"), None).await.unwrap();
        assert_eq!(got.lock().pop().unwrap()[1], "Bearer sk-openai");
    }
}

#[tokio::test]
async fn azure_has_deployments_a_version_and_a_header_of_its_own() {
    let (address, got) = server().await;
    let mut config = named("azure/my-deployment");
    config.base_url = Some(format!("http://{address}/"));
    config.key_env = Some("MY_KEY".to_owned());
    config.api_version = Some("2025-01-01-preview".to_owned());
    made(&config).await.unwrap().complete(&asked("hi"), None).await.unwrap();
    let [uri, key, _] = got.lock()[0].clone();
    assert_eq!(
        uri,
        "/openai/deployments/my-deployment/chat/completions?api-version=2025-01-01-preview"
    );
    assert_eq!(key, "sk-mine");
    let error = made(&named("azure/my-deployment")).await.unwrap_err().to_string();
    assert!(error.contains("AZURE_OPENAI_ENDPOINT"), "{error}");
}

#[tokio::test]
async fn answers_are_cached_by_namespace_unless_that_is_off() {
    let (address, got) = server().await;
    let directory = tempfile::tempdir().unwrap();
    let config = ModelConfig {
        cache_directory: Some(directory.path().to_owned()),
        ..ModelConfig::named(format!("http://{address}/v1#m"))
    };
    let in_namespace =
        |number| ModelConfig { cache: CacheChoice::Namespace(number), ..config.clone() };
    let off = ModelConfig { cache: CacheChoice::Off, ..config.clone() };
    for (config, cached, calls) in [
        (&config, false, 1),
        (&config, true, 1),
        (&in_namespace(41), true, 1),
        (&in_namespace(7), false, 2),
        (&off, false, 3),
        (&off, false, 4),
        (&config, true, 4),
    ] {
        let answer = made(config).await.unwrap().complete(&asked("hi"), None).await.unwrap();
        assert_eq!((answer.cached, got.lock().len()), (cached, calls), "{:?}", config.cache);
    }
}

#[tokio::test]
async fn a_missing_key_is_an_error_at_once_or_leaves_the_answer_to_the_next_model() {
    for name in ["anthropic/claude-haiku-4-5", "groq/llama"] {
        let error = made(&named(name)).await.unwrap_err();
        assert!(
            matches!(&error, ModelError::NoKey { variable, .. } if variable.ends_with("_API_KEY")),
            "{error:?}"
        );
    }
    let empty = ModelConfig { key_env: Some("EMPTY_KEY".to_owned()), ..named("gpt-4o") };
    assert!(matches!(made(&empty).await, Err(ModelError::NoKey { .. })));
    assert!(made(&named("gpt-4o")).await.is_ok());

    let (address, _) = server().await;
    let mut config = named("anthropic/claude-haiku-4-5");
    config.fallback = vec![named("groq/llama"), named(&format!("http://{address}/v1#m"))];
    let client = made(&config).await.unwrap();
    assert_eq!(client.name(), "claude-haiku-4-5");
    assert_eq!(client.complete(&asked("hi"), None).await.unwrap().content, "hello");
    config.fallback.pop();
    let error = made(&config).await.unwrap().complete(&asked("hi"), None).await.unwrap_err();
    assert!(matches!(&error, ModelError::All(errors) if errors.len() == 2), "{error:?}");
}

#[tokio::test]
async fn fields_that_do_not_apply_are_refused() {
    let url = || Some("http://127.0.0.1:1".to_owned());
    for (config, field) in [
        (ModelConfig { base_url: url(), ..named("local") }, "base_url"),
        (ModelConfig { key_env: Some("MY_KEY".to_owned()), ..named("local") }, "key_env"),
        (ModelConfig { price: Some(Price::FREE), ..named("local") }, "price"),
        (ModelConfig { context: Some(1000), ..named("gpt-4o") }, "context"),
        (ModelConfig { api_version: url(), ..named("gpt-4o") }, "api_version"),
        (ModelConfig { base_url: url(), ..named("http://127.0.0.1:2/v1#m") }, "base_url"),
    ] {
        let error = made(&config).await.unwrap_err().to_string();
        assert!(error.contains(&format!("`{field}` does not apply")), "{error}");
    }
}

#[tokio::test]
async fn each_api_has_its_client() {
    for (name, provider, model) in [
        ("gpt-4o", "openai", "gpt-4o"),
        ("ollama/llama3.2", "ollama", "llama3.2"),
        ("vllm/Qwen/Qwen2.5-Coder", "vllm", "Qwen/Qwen2.5-Coder"),
    ] {
        let client = made(&named(name)).await.unwrap();
        assert_eq!((client.provider(), client.name()), (provider, model));
    }
    let config = ModelConfig { key_env: Some("MY_KEY".to_owned()), ..named("claude-sonnet-4-5") };
    let client = made(&config).await.unwrap();
    assert_eq!((client.provider(), client.sees_images()), ("anthropic", true));
    // Without a name, the provider with a key is used.
    assert_eq!(
        made(&ModelConfig { model: None, ..named("") }).await.unwrap().name(),
        "gpt-4o-mini"
    );
    // The key is not shown.
    assert!(!format!("{client:?}").contains("sk-mine"));
    assert!(format!("{client:?}").contains("MY_KEY"));
}

#[tokio::test]
async fn clients_with_other_settings_do_not_share_cached_answers() {
    let (address, got) = server().await;
    let directory = tempfile::tempdir().unwrap();
    let config = ModelConfig {
        cache_directory: Some(directory.path().to_owned()),
        ..ModelConfig::named(format!("http://{address}/v1#m"))
    };
    let with = |text: &str| ModelConfig {
        parameters: serde_json::from_str(text).unwrap(),
        ..config.clone()
    };
    for (calls, config) in [
        config.clone(),
        with(r#"{"temperature": 0.2}"#),
        with(r#"{"temperature": 0.9}"#),
        with(r#"{"temperature": 0.9, "seed": 1}"#),
        with(r#"{"extra": {"logprobs": true}}"#),
        ModelConfig { sees_images: Some(true), ..config.clone() },
    ]
    .iter()
    .enumerate()
    {
        for cached in [false, true] {
            let answer = made(config).await.unwrap().complete(&asked("hi"), None).await.unwrap();
            assert_eq!((answer.cached, got.lock().len()), (cached, calls + 1), "{config:?}");
        }
    }
    // Control: settings of the transport do not matter.
    let otherwise = ModelConfig { stream: Some(false), retries: Some(0), ..config };
    assert!(made(&otherwise).await.unwrap().complete(&asked("hi"), None).await.unwrap().cached);
}

#[tokio::test]
async fn a_table_of_prices_decides_what_a_call_costs() {
    let (address, _) = server().await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("prices.toml");
    std::fs::write(&path, "[models]\n\"m\" = { input = 1000, output = 2000 }\n").unwrap();
    let priced = ModelConfig { prices: Some(path), ..named(&format!("http://{address}/v1#m")) };
    let with_price =
        ModelConfig { price: Some(Price { input: 10.0, output: 0.0 }), ..priced.clone() };
    let unknown = ModelConfig { prices: None, ..priced.clone() };
    for (config, cost) in [(&priced, 0.12), (&with_price, 0.001), (&unknown, 0.0)] {
        assert_eq!(
            made(config).await.unwrap().complete(&asked("hi"), None).await.unwrap().cost,
            cost
        );
    }
    // If the requested model is unknown, that of the answer counts; fallback models have the same
    // table.
    let base_url = Some(format!("http://{address}"));
    let deployment =
        ModelConfig { base_url, key_env: Some("MY_KEY".to_owned()), ..named("azure/deployment") };
    let config = ModelConfig { fallback: vec![deployment], ..named("groq/nobody-knows-this") };
    let config = ModelConfig { prices: priced.prices, ..config };
    assert_eq!(made(&config).await.unwrap().complete(&asked("hi"), None).await.unwrap().cost, 0.12);
}

#[tokio::test]
async fn ollamas_variable_sets_its_address() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = async || {
        Json(serde_json::json!({"model": "m", "message": {"content": "hello"}, "done": true}))
    };
    let app = Router::new().route("/api/chat", axum::routing::post(answer));
    tokio::spawn(async move { axum::serve(listener, app).await });
    let environment = |host: String| Environment {
        variable: Box::new(move |name| (name == "OLLAMA_HOST").then(|| host.clone())),
    };
    // Also the values with which the server listens on all addresses.
    for host in [
        format!("0.0.0.0:{port}"),
        format!("127.0.0.1:{port}"),
        format!(":{port}"),
        format!("http://127.0.0.1:{port}/"),
    ] {
        let client = client(&named("ollama/m"), &environment(host.clone()), &Silent).await.unwrap();
        let answer = client.complete(&asked("hi"), None).await.unwrap();
        assert_eq!((answer.content.as_str(), answer.cost), ("hello", 0.0), "{host}");
    }
    // The default port is Ollama's and not that of HTTP.
    let client =
        client(&named("ollama/m"), &environment("127.0.0.1".to_owned()), &Silent).await.unwrap();
    assert!(format!("{client:?}").contains("http://127.0.0.1:11434"), "{client:?}");
}
