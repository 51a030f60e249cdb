//! Chats whose models answer over HTTP: cases 37 to 42 of AutoGen's conformance cases, with a
//! server on this machine that speaks OpenAI's chat completions.

mod server;

use std::sync::Arc;

use cellblock_agents::{
    Agent, AutoSelection, Chat, ChatResult, CodeExecution, HumanInputMode, ModelClient, Speakers,
    StopReason, tool,
};
use cellblock_local::{LocalExecutor, Options};
use cellblock_models::{CacheStore, Cached, Fallback, OpenAi, Price};

use server::{Server, calls, fails};

/// An agent without a model that always answers the same and asks nobody.
fn says(name: &str, reply: &str) -> Agent {
    Agent {
        default_reply: reply.to_owned(),
        human_input: HumanInputMode::Never,
        ..Agent::new(name)
    }
}

/// The texts of a chat, in order.
fn texts(result: &ChatResult) -> Vec<String> {
    result.history.iter().map(|message| message.text().into_owned()).collect()
}

fn ask_once(model: impl ModelClient + 'static) -> Chat {
    let assistant = Agent::assistant("assistant", Arc::new(model));
    Chat { max_turns: Some(1), ..Chat::between(says("user", ""), assistant) }
}

fn close(one: f64, other: f64) -> bool {
    (one - other).abs() < 1e-9
}

#[tokio::test]
async fn case_37_the_cost_of_a_call() {
    let server = Server::start([server::says("a"), server::says("b"), server::says("c")]).await;
    let result = ask_once(server.client("gpt-4")).run("hi").await.unwrap();
    let spent = &result.cost.excluding_cached;
    assert!(close(spent.total_cost, 0.0036), "{spent:?}");
    let of_model = &spent.models["gpt-4"];
    assert_eq!(
        (of_model.prompt_tokens, of_model.completion_tokens, of_model.total_tokens),
        (100, 10, 110)
    );
    let price = Some(Price::per_thousand([1.0, 2.0]).unwrap());
    let result = ask_once(OpenAi { price, ..server.client("gpt-4") }).run("hi").await.unwrap();
    assert!(close(result.cost.excluding_cached.total_cost, 0.12), "{:?}", result.cost);
    let result = ask_once(server.client("nobody-knows-it")).run("hi").await.unwrap();
    assert_eq!(result.cost.excluding_cached.total_cost, 0.0);
    assert_eq!(result.cost.excluding_cached.models["nobody-knows-it"].total_tokens, 110);
}

#[tokio::test]
async fn case_38_a_cached_answer_costs_nothing() {
    let server = Server::start([server::says("once")]).await;
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(CacheStore::open(&directory.path().join("models.sqlite")).unwrap());
    let chat = ask_once(Cached::new(Arc::new(server.client("gpt-4")), store));
    let first = chat.run("hi").await.unwrap();
    assert!(close(first.cost.excluding_cached.total_cost, 0.0036), "{:?}", first.cost);
    let second = chat.run("hi").await.unwrap();
    assert_eq!((texts(&second).pop().unwrap(), server.requests().len()), ("once".to_owned(), 1));
    assert_eq!(second.cost.excluding_cached.total_cost, 0.0);
    assert!(close(second.cost.including_cached.total_cost, 0.0036), "{:?}", second.cost);
    // Control: another question goes to the server.
    let other = chat.run("ho").await.unwrap();
    assert_eq!(server.requests().len(), 4, "{}", other.stop);
}

#[tokio::test]
async fn case_39_models_are_tried_in_order() {
    let broken = Server::start([fails(500), fails(503), fails(500)]).await;
    let works = Server::start([server::says("from the second")]).await;
    let list: Vec<Arc<dyn ModelClient>> =
        vec![Arc::new(broken.client("m1")), Arc::new(works.client("m2"))];
    let result = ask_once(Fallback(list)).run("hi").await.unwrap();
    assert_eq!(texts(&result).last().unwrap(), "from the second");
    let models = |server: &Server| -> Vec<String> {
        server
            .requests()
            .iter()
            .map(|request| request["model"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        (models(&broken), models(&works)),
        (vec!["m1".to_owned(); 3], vec!["m2".to_owned()])
    );
    // None is left: the chat ends and keeps what was said.
    let list: Vec<Arc<dyn ModelClient>> =
        vec![Arc::new(broken.client("m1")), Arc::new(works.client("m2"))];
    let result = ask_once(Fallback(list)).run("hi").await.unwrap();
    assert_eq!(texts(&result), ["hi"]);
    let StopReason::Failed { causes, .. } = &result.stop else { panic!("{}", result.stop) };
    assert!(causes[0].contains("m1") && causes[0].contains("m2"), "{causes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_40_the_code_loop() {
    let code = "```python\nprint(6 * 7)\n```";
    let server = Server::start([server::says(code), server::says("TERMINATE")]).await;
    let executor = LocalExecutor::start(Options::default()).await.unwrap();
    let user = Agent {
        code: Some(CodeExecution::new(Arc::new(executor))),
        human_input: HumanInputMode::Never,
        ..Agent::new("user")
    };
    let assistant = Agent::assistant("assistant", Arc::new(server.client("gpt-4")));
    let result = Chat::between(user, assistant).run("What is six times seven?").await.unwrap();
    let said = texts(&result);
    assert_eq!(said.len(), 4, "{said:?}");
    assert_eq!(said[2], "exitcode: 0 (execution succeeded)\nCode output: 42\n");
    let seen = server.requests()[1]["messages"].clone();
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
        Server::start([calls("call_1", "weather", arguments), server::says("It rains.")]).await;
    let weather = tool::function("weather", "The weather.", |City { city }| async move {
        Ok::<_, String>(format!("rain in {city}"))
    });
    let assistant = Agent {
        tools: vec![Arc::new(weather)],
        ..Agent::assistant("assistant", Arc::new(server.client("gpt-4")))
    };
    let chat = Chat { max_turns: Some(2), ..Chat::between(says("user", ""), assistant) };
    let result = chat.run("weather?").await.unwrap();
    assert_eq!(texts(&result).last().unwrap(), "It rains.");
    let requests = server.requests();
    assert_eq!(requests[0]["tools"][0]["function"]["name"], "weather");
    let messages = requests[1]["messages"].as_array().unwrap();
    let [.., call, answer] = messages.as_slice() else { panic!("{messages:?}") };
    assert_eq!(call["tool_calls"][0]["function"]["arguments"], arguments);
    assert_eq!((&answer["role"], &answer["tool_call_id"]), (&"tool".into(), &"call_1".into()));
    assert_eq!(answer["content"], "rain in Seoul");
}

#[tokio::test]
async fn case_42_a_choice_of_two_is_asked_again() {
    async fn second_speaker(answers: &[&str]) -> (String, usize) {
        let server = Server::start(answers.iter().map(|answer| server::says(answer))).await;
        let model: Arc<dyn ModelClient> = Arc::new(server.client("gpt-4"));
        let selection = AutoSelection { model: Some(model), ..AutoSelection::default() };
        let agents = ["alice", "carl", "bob"].map(|name| says(name, "hm")).to_vec();
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
    // Three failures: the next one in turn.
    assert_eq!(second_speaker(&["bob or carl", "nobody", "either"]).await, ("carl".to_owned(), 3));
}
