//! Lists of models over real connections.

use std::sync::Arc;

use cellblock_agents::{ModelClient as _, ModelError};
use cellblock_models::{Fallback, OpenAi};
use serde_json::json;

use crate::http_server::*;

fn model(server: &Server, name: &str) -> Arc<OpenAi> {
    Arc::new(OpenAi { model: name.to_owned(), ..server.openai() })
}

#[tokio::test]
async fn case_39_the_first_model_with_its_retries_then_the_second() {
    let server = Server::start(|_, request| match request.body["model"].as_str() {
        Some("m1") => as_json(500, &json!({"error": {"message": "down"}})),
        _ => completion("from m2"),
    })
    .await;
    let list = Fallback(vec![model(&server, "m1"), model(&server, "m2")]);
    assert_eq!(list.complete(&hello(), None).await.unwrap().content, "from m2");
    let models: Vec<_> = server
        .requests()
        .iter()
        .map(|request| request.body["model"].as_str().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(models, ["m1", "m1", "m1", "m2"]);
}

#[tokio::test]
async fn a_stream_that_breaks_is_not_continued_by_another_model() {
    let broken = Server::start(|_, _| events(&[chunk(&json!({"content": "hel"}))], End::Cut)).await;
    let well = Server::start(|_, _| streamed(&["hi"])).await;
    let list = Fallback(vec![model(&broken, "m1"), model(&well, "m2")]);
    let (sink, heard) = listener();
    let error = list.complete(&hello(), Some(&sink)).await.unwrap_err();
    assert!(
        matches!(&error, ModelError::Interrupted { received, .. } if received == "hel"),
        "{error}"
    );
    assert_eq!((heard.lock().unwrap().concat().as_str(), well.count()), ("hel", 0));
    // Control: after a failure without text the next model answers.
    let refused = Server::start(|_, _| as_json(401, &json!({"error": {"message": "no"}}))).await;
    let list = Fallback(vec![model(&refused, "m1"), model(&well, "m2")]);
    assert_eq!(list.complete(&hello(), Some(&sink)).await.unwrap().content, "hi");
}
