//! Chats whose models answer over HTTP: cases 37 to 42 of the conformance cases of AutoGen, with a
//! server on loopback.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use cellblock_agents::{
    Agent, AutoSelection, Chat, ChatResult, CodeExecution, HumanInputMode, ModelClient, Speakers,
    StopReason, tool,
};
use cellblock_local::{LocalExecutor, Options};
use cellblock_models::{CacheStore, Cached, Fallback, OpenAi, Price};
use serde_json::{Value, json};

use crate::http_server::{Server, as_json};

/// Starts a server that answers by a script of statuses and bodies, and then with status 500.
async fn start_script(answers: impl IntoIterator<Item = (u16, Value)>) -> Server {
    let script = Mutex::new(answers.into_iter().collect::<VecDeque<_>>());
    Server::start(move |_, request| {
        let next = script.lock().unwrap().pop_front();
        let (status, mut body) = next.unwrap_or_else(|| failure(500));
        if status == 200 {
            body["model"] = request.body["model"].clone();
        }
        as_json(status, &body)
    })
    .await
}

fn client(server: &Server, model: &str) -> OpenAi {
    OpenAi { model: model.to_owned(), ..server.openai() }
}

/// Returns an answer of text, with 100 input and 10 output tokens.
fn text_answer(content: &str) -> (u16, Value) {
    answer(json!({"role": "assistant", "content": content}), "stop")
}

/// Returns an answer that calls a tool.
fn call_answer(id: &str, name: &str, arguments: &str) -> (u16, Value) {
    let function = json!({"name": name, "arguments": arguments});
    let call = json!({"id": id, "type": "function", "function": function});
    answer(json!({"role": "assistant", "content": null, "tool_calls": [call]}), "tool_calls")
}

fn answer(message: Value, finish: &str) -> (u16, Value) {
    let body = json!({
        "id": "c1", "object": "chat.completion", "created": 1,
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
    });
    (200, body)
}

fn failure(status: u16) -> (u16, Value) {
    (status, json!({"error": {"message": "not now", "type": "server_error"}}))
}

/// Returns an agent without a model that always answers the same and asks no person.
fn fixed_reply(name: &str, reply: &str) -> Agent {
    Agent {
        default_reply: reply.to_owned(),
        human_input: HumanInputMode::Never,
        ..Agent::new(name)
    }
}

/// Returns the texts of a chat, in order.
fn texts(result: &ChatResult) -> Vec<String> {
    result.history.iter().map(|message| message.text().into_owned()).collect()
}

fn ask_once(model: impl ModelClient + 'static) -> Chat {
    let assistant = Agent::assistant("assistant", Arc::new(model));
    Chat { max_turns: Some(1), ..Chat::between(fixed_reply("user", ""), assistant) }
}

fn close(one: f64, other: f64) -> bool {
    (one - other).abs() < 1e-9
}

#[tokio::test]
async fn case_37_the_cost_of_a_call() {
    let server = start_script([text_answer("a"), text_answer("b"), text_answer("c")]).await;
    let result = ask_once(client(&server, "gpt-4")).run("hi").await.unwrap();
    let spent = &result.cost.excluding_cached;
    assert!(close(spent.total_cost, 0.0036), "{spent:?}");
    let of_model = &spent.models["gpt-4"];
    assert_eq!(
        (of_model.prompt_tokens, of_model.completion_tokens, of_model.total_tokens),
        (100, 10, 110)
    );
    let price = Some(Price::per_thousand([1.0, 2.0]).unwrap());
    let result = ask_once(OpenAi { price, ..client(&server, "gpt-4") }).run("hi").await.unwrap();
    assert!(close(result.cost.excluding_cached.total_cost, 0.12), "{:?}", result.cost);
    let result = ask_once(client(&server, "nobody-knows-it")).run("hi").await.unwrap();
    assert_eq!(result.cost.excluding_cached.total_cost, 0.0);
    assert_eq!(result.cost.excluding_cached.models["nobody-knows-it"].total_tokens, 110);
}

#[tokio::test]
async fn case_38_a_cached_answer_costs_nothing() {
    let server = start_script([text_answer("once")]).await;
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(CacheStore::open(&directory.path().join("models.sqlite")).unwrap());
    let chat = ask_once(Cached::new(Arc::new(client(&server, "gpt-4")), store));
    let first = chat.run("hi").await.unwrap();
    assert!(close(first.cost.excluding_cached.total_cost, 0.0036), "{:?}", first.cost);
    let second = chat.run("hi").await.unwrap();
    assert_eq!((texts(&second).pop().unwrap(), server.requests().len()), ("once".to_owned(), 1));
    assert_eq!(second.cost.excluding_cached.total_cost, 0.0);
    assert!(close(second.cost.including_cached.total_cost, 0.0036), "{:?}", second.cost);
    // Control: another request goes to the server.
    let other = chat.run("ho").await.unwrap();
    assert_eq!(server.requests().len(), 4, "{}", other.stop);
}

#[tokio::test]
async fn case_39_models_are_tried_in_order() {
    let broken = start_script([failure(500), failure(503), failure(500)]).await;
    let works = start_script([text_answer("from the second")]).await;
    let list: Vec<Arc<dyn ModelClient>> =
        vec![Arc::new(client(&broken, "m1")), Arc::new(client(&works, "m2"))];
    let result = ask_once(Fallback(list)).run("hi").await.unwrap();
    assert_eq!(texts(&result).last().unwrap(), "from the second");
    let models = |server: &Server| -> Vec<String> {
        server
            .requests()
            .iter()
            .map(|request| request.body["model"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        (models(&broken), models(&works)),
        (vec!["m1".to_owned(); 3], vec!["m2".to_owned()])
    );
    // If no model answers, the chat ends and keeps its messages.
    let list: Vec<Arc<dyn ModelClient>> =
        vec![Arc::new(client(&broken, "m1")), Arc::new(client(&works, "m2"))];
    let result = ask_once(Fallback(list)).run("hi").await.unwrap();
    assert_eq!(texts(&result), ["hi"]);
    let StopReason::Failed { causes, .. } = &result.stop else { panic!("{}", result.stop) };
    assert!(causes[0].contains("m1") && causes[0].contains("m2"), "{causes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_40_the_code_loop() {
    let code = "```python\nprint(6 * 7)\n```";
    let server = start_script([text_answer(code), text_answer("TERMINATE")]).await;
    let executor = LocalExecutor::start(Options::default()).await.unwrap();
    let user = Agent {
        code: Some(CodeExecution::new(Arc::new(executor))),
        human_input: HumanInputMode::Never,
        ..Agent::new("user")
    };
    let assistant = Agent::assistant("assistant", Arc::new(client(&server, "gpt-4")));
    let result = Chat::between(user, assistant).run("What is six times seven?").await.unwrap();
    let texts = texts(&result);
    assert_eq!(texts.len(), 4, "{texts:?}");
    assert_eq!(texts[2], "exitcode: 0 (execution succeeded)\nCode output: 42\n");
    let seen = server.requests()[1].body["messages"].clone();
    let roles: Vec<_> =
        seen.as_array().unwrap().iter().map(|message| message["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["system", "user", "assistant", "user"]);
    assert!(seen[3]["content"].as_str().unwrap().ends_with("Code output: 42\n"), "{seen}");
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct City {
    city: String,
}

#[tokio::test]
async fn case_41_a_tool_call_and_back() {
    let arguments = r#"{"city":"Seoul"}"#;
    let server =
        start_script([call_answer("call_1", "weather", arguments), text_answer("It rains.")]).await;
    let weather = tool::function("weather", "The weather.", |City { city }| async move {
        Ok::<_, String>(format!("rain in {city}"))
    });
    let assistant = Agent {
        tools: vec![Arc::new(weather)],
        ..Agent::assistant("assistant", Arc::new(client(&server, "gpt-4")))
    };
    let chat = Chat { max_turns: Some(2), ..Chat::between(fixed_reply("user", ""), assistant) };
    let result = chat.run("weather?").await.unwrap();
    assert_eq!(texts(&result).last().unwrap(), "It rains.");
    let requests = server.requests();
    assert_eq!(requests[0].body["tools"][0]["function"]["name"], "weather");
    let messages = requests[1].body["messages"].as_array().unwrap();
    let [.., call, answer] = messages.as_slice() else { panic!("{messages:?}") };
    assert_eq!(call["tool_calls"][0]["function"]["arguments"], arguments);
    assert_eq!((&answer["role"], &answer["tool_call_id"]), (&"tool".into(), &"call_1".into()));
    assert_eq!(answer["content"], "rain in Seoul");
}

#[tokio::test]
async fn case_42_a_choice_of_two_is_asked_again() {
    async fn second_speaker(answers: &[&str]) -> (String, usize) {
        let server = start_script(answers.iter().map(|answer| text_answer(answer))).await;
        let model: Arc<dyn ModelClient> = Arc::new(client(&server, "gpt-4"));
        let selection = AutoSelection { model: Some(model), ..AutoSelection::default() };
        let agents = ["alice", "carl", "bob"].map(|name| fixed_reply(name, "hm")).to_vec();
        let chat =
            Chat { speakers: Speakers::Auto(selection), max_turns: Some(2), ..Chat::group(agents) };
        let result = chat.run("hi").await.unwrap();
        assert_eq!(result.history.len(), 2, "{}", result.stop);
        let calls = server.requests().len();
        assert!(
            close(result.cost.excluding_cached.total_cost, 0.0036 * calls as f64),
            "{:?}",
            result.cost
        );
        (result.history[1].name.clone(), calls)
    }
    assert_eq!(second_speaker(&["bob or carl", "bob"]).await, ("bob".to_owned(), 2));
    // After three failures, the next agent in turn speaks.
    assert_eq!(second_speaker(&["bob or carl", "nobody", "either"]).await, ("carl".to_owned(), 3));
}
