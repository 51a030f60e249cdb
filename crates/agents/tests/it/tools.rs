//! Tools: their schemas, bad calls, time, panics, approval, and who sees the results.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use cellblock_agents::{
    Agent, Approval, Chat, ChatResult, CodeExecution, Decision, Error, HumanInputMode, ModelMessage, Proposal,
    ScriptedHuman, Speakers, Tool, ToolCall,
    tool::{self, FunctionTool},
};
use cellblock_models::{Answer, Scripted};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    cast::{last, names, python, runs, says, script},
    fake::Fake,
};

/// What to look for.
#[derive(Deserialize, JsonSchema)]
struct Search {
    /// The words.
    words: String,
    /// At most so many results.
    #[serde(default)]
    most: Option<u8>,
    kind: Kind,
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Text,
    Picture,
}

#[derive(Serialize)]
struct Found {
    words: String,
    most: u8,
    kind: Kind,
}

fn search() -> FunctionTool {
    tool::function("search", "Looks things up.", |Search { words, most, kind }| async move {
        Ok::<_, String>(Found { words, most: most.unwrap_or(10), kind })
    })
}

fn call(id: &str, name: &str, arguments: &str) -> ToolCall {
    ToolCall { id: id.to_owned(), name: name.to_owned(), arguments: arguments.to_owned() }
}

/// A chat in which the model makes these calls, then speaks.
fn chat_with(tools: Vec<FunctionTool>, calls: Vec<ToolCall>) -> (Chat, Arc<Scripted>) {
    let model = script([Answer::Calls(String::new(), calls), "done".into()]);
    let tools = tools.into_iter().map(|tool| Arc::new(tool) as Arc<dyn Tool>).collect();
    let assistant = Agent { tools, ..Agent::assistant("assistant", model.clone()) };
    (Chat { max_turns: Some(2), ..Chat::between(says("user", ""), assistant) }, model)
}

/// What came of one call.
async fn answer(tool: FunctionTool, name: &str, arguments: &str) -> (String, bool) {
    let (chat, _) = chat_with(vec![tool], vec![call("1", name, arguments)]);
    let result = chat.run("hi").await.unwrap();
    assert_eq!(last(&result), "done", "{}", result.stop);
    let answer = &result.history[2].tool_results[0];
    (answer.content.clone(), answer.is_error)
}

#[test]
fn the_schema_comes_from_the_type() {
    let schema = search().spec.parameters;
    assert_eq!(schema["type"], "object");
    assert_eq!(schema["properties"]["words"]["type"], "string");
    assert_eq!(schema["properties"]["words"]["description"], "The words.");
    let required: Vec<_> = schema["required"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert_eq!(required, ["words", "kind"]);
    assert!(schema.to_string().contains("\"picture\""), "{schema}");
}

#[tokio::test]
async fn the_model_is_offered_the_tool_and_told_its_answer() {
    let arguments = r#"{"words":"crates","kind":"text"}"#;
    let (chat, model) = chat_with(vec![search()], vec![call("7", "search", arguments)]);
    let result = chat.run("hi").await.unwrap();
    assert_eq!(result.history[2].tool_results[0].content, r#"{"kind":"text","most":10,"words":"crates"}"#);
    let requests = model.requests();
    assert_eq!(requests[0].tools, [search().spec]);
    let [_, ModelMessage::Assistant { tool_calls, .. }, ModelMessage::Tool(told)] = requests[1].messages.as_slice()
    else {
        panic!("{:?}", requests[1].messages)
    };
    assert_eq!((tool_calls[0].id.as_str(), told.id.as_str(), told.is_error), ("7", "7", false));
    // The record of the result.
    let record = &result.tool_calls[0];
    assert_eq!((record.agent.as_str(), record.name.as_str()), ("assistant", "search"));
    assert_eq!((record.arguments.as_str(), record.is_error, record.from_code), (arguments, false, false));
}

#[tokio::test]
async fn arguments_that_do_not_fit() {
    for (arguments, words) in [
        (r#"{"words":"x"}"#, "kind"),
        (r#"{"words":1,"kind":"text"}"#, "/words"),
        (r#"{"words":"x","kind":"sound"}"#, "/kind"),
        (r#"{"words":"x","kind":"text","most":1000}"#, "/most"),
        ("[]", "the arguments do not fit"),
        ("null", "the arguments do not fit"),
        ("", "kind"),
    ] {
        let (told, is_error) = answer(search(), "search", arguments).await;
        assert!(is_error && told.starts_with("Error: the arguments do not fit") && told.contains(words), "{arguments}: {told}");
    }
    let (told, is_error) = answer(search(), "search", r#"{"words":"x","kind":"text","most":3}"#).await;
    assert_eq!((told.as_str(), is_error), (r#"{"kind":"text","most":3,"words":"x"}"#, false));
}

#[tokio::test]
async fn unknown_tools_and_bad_json() {
    assert_eq!(answer(search(), "find", "{}").await, ("Error: Function find not found.".to_owned(), true));
    for arguments in ["{", "words=x", "{\"words\": \"x\",}", "{\"words\": \"x\"} trailing"] {
        let (told, is_error) = answer(search(), "search", arguments).await;
        assert!(is_error && told.ends_with("\n The argument must be in JSON format."), "{arguments}: {told}");
    }
}

#[derive(Deserialize, JsonSchema)]
struct Text {
    text: String,
}

fn length() -> FunctionTool {
    tool::function("length", "Counts.", |Text { text }| async move { Ok::<_, String>(text.len()) })
}

#[tokio::test]
async fn arguments_of_ten_megabytes() {
    let of = |bytes: usize| serde_json::json!({"text": "x".repeat(bytes)}).to_string();
    let (told, is_error) = answer(length(), "length", &of(10 << 20)).await;
    assert!(is_error && told.contains("a call takes 8388608 at most"), "{told}");
    assert_eq!(answer(length(), "length", &of(7 << 20)).await, ((7 << 20).to_string(), false));
}

#[tokio::test]
async fn a_long_answer_is_shortened_for_the_model() {
    let long = tool::function("long", "Long.", |(): ()| async { Ok::<_, String>("x".repeat(1 << 20)) });
    let (told, _) = answer(long, "long", "null").await;
    assert!(told.len() < 70 * 1024 && told.contains("bytes left out"), "{}", told.len());
}

#[tokio::test]
async fn calls_of_one_message_run_at_once() {
    // Each waits until all three are there.
    let barrier = Arc::new(tokio::sync::Barrier::new(3));
    let meet = tool::function("meet", "Meets.", move |Text { text }| {
        let barrier = barrier.clone();
        async move {
            barrier.wait().await;
            Ok::<_, String>(text)
        }
    });
    let calls = ["a", "b", "c"].map(|text| call(text, "meet", &serde_json::json!({"text": text}).to_string()));
    let (chat, _) = chat_with(vec![meet], calls.to_vec());
    let result = tokio::time::timeout(Duration::from_secs(30), chat.run("hi")).await.unwrap().unwrap();
    let answers: Vec<_> = result.history[2].tool_results.iter().map(|result| result.content.as_str()).collect();
    assert_eq!(answers, ["a", "b", "c"]);
}

#[tokio::test]
async fn a_call_has_its_time() {
    let mut slow = tool::function("slow", "Slow.", |(): ()| std::future::pending::<Result<(), String>>());
    slow.timeout = Duration::from_millis(50);
    let start = Instant::now();
    let (told, is_error) = answer(slow, "slow", "null").await;
    assert_eq!((told.as_str(), is_error), ("Error: the tool slow gave no answer within 50ms", true));
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_tool_that_fails_or_panics_ends_nothing() {
    let fails = tool::function("fails", "Fails.", |(): ()| async { Err::<(), _>("no such order") });
    assert_eq!(answer(fails, "fails", "null").await, ("Error: no such order".to_owned(), true));
    let panics = tool::function("panics", "Panics.", |(): ()| async {
        if true {
            panic!("on purpose");
        }
        Ok::<_, String>(())
    });
    assert_eq!(answer(panics, "panics", "null").await, ("Error: the tool panics broke down".to_owned(), true));
}

#[tokio::test]
async fn tools_that_make_no_sense() {
    for name in ["", "has blank", "ünïcode", &"x".repeat(65)] {
        let tool = tool::function(name, "Bad.", |(): ()| async { Ok::<_, String>(()) });
        let (chat, model) = chat_with(vec![tool], vec![]);
        let error = chat.run("hi").await.unwrap_err();
        assert!(matches!(error, Error::Invalid(_)) && model.calls() == 0, "{error}");
    }
    let (chat, _) = chat_with(vec![search(), search()], vec![]);
    assert!(chat.run("hi").await.unwrap_err().to_string().contains("two tools"));
    let mut wrong = search();
    wrong.spec.parameters = serde_json::json!({"type": "no type"});
    let (chat, _) = chat_with(vec![wrong], vec![]);
    assert!(chat.run("hi").await.unwrap_err().to_string().contains("the schema of the tool `search` is not valid"));
}

/// A tool that needs approval, and how often it was called.
fn dangerous() -> (FunctionTool, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = calls.clone();
    let mut tool = tool::function("launch", "Launches.", move |(): ()| {
        count.fetch_add(1, Ordering::SeqCst);
        async { Ok::<_, String>("launched") }
    });
    tool.needs_approval = true;
    (tool, calls)
}

/// What a model is told of a call that needs approval, and how often the tool was called.
async fn approved(approval: Option<Approval>, decisions: Vec<Decision>) -> (String, usize) {
    let (tool, calls) = dangerous();
    let (mut chat, _) = chat_with(vec![tool], vec![call("1", "launch", "null")]);
    let code = approval.map(|approval| CodeExecution { approval, ..CodeExecution::new(Arc::new(Fake::default())) });
    let human = Arc::new(ScriptedHuman::new::<&str>([]).deciding(decisions));
    chat.agents[0] = Agent { code, human, ..chat.agents[0].clone() };
    let result = chat.run("hi").await.unwrap();
    (result.history[2].tool_results[0].content.clone(), calls.load(Ordering::SeqCst))
}

#[tokio::test]
async fn approval_of_a_tool() {
    let launched = ("launched".to_owned(), 1);
    let skip = |why: &str| Decision::Skip { why: why.to_owned() };
    assert_eq!(approved(Some(Approval::Never), vec![]).await, launched);
    assert_eq!(approved(Some(Approval::Always), vec![Decision::Approve]).await, launched);
    let told = approved(Some(Approval::Always), vec![skip("not today")]).await;
    assert_eq!(told, ("Error: the call was refused: not today".to_owned(), 0));
    let told = approved(Some(Approval::Always), vec![Decision::Correct { text: "Ask the captain.".to_owned() }]).await;
    assert_eq!(told, ("Error: Ask the captain.".to_owned(), 0));
    assert_eq!(approved(Some(Approval::Always), vec![Decision::Edit { blocks: vec![] }]).await.1, 0);
    let policy = |decision: Option<Decision>| Approval::Policy(Arc::new(move |_: &Proposal| decision.clone()));
    assert_eq!(approved(Some(policy(Some(Decision::Approve))), vec![]).await, launched);
    assert_eq!(approved(Some(policy(Some(skip("")))), vec![]).await, ("Error: the call was refused".to_owned(), 0));
    // A policy that leaves it open asks the person.
    assert_eq!(approved(Some(policy(None)), vec![Decision::Approve]).await, launched);
    assert_eq!(approved(Some(policy(None)), vec![]).await.1, 0);
    let other = |decisions| Approval::Human(Arc::new(ScriptedHuman::new::<&str>([]).deciding(decisions)));
    assert_eq!(approved(Some(other(vec![Decision::Approve])), vec![]).await, launched);
    assert_eq!(approved(Some(other(vec![])), vec![Decision::Approve]).await.1, 0);
    // Who has no rule, because it runs no code, asks the person too.
    assert_eq!(approved(None, vec![Decision::Approve]).await, launched);
    assert_eq!(approved(None, vec![]).await.1, 0);
}

#[tokio::test]
async fn the_policy_sees_the_call() {
    let rule = Approval::Policy(Arc::new(|proposal: &Proposal| match proposal {
        Proposal::Tool { agent, call, from_code: false } if agent == "assistant" && call.name == "launch" => {
            Some(Decision::Approve)
        }
        _ => Some(Decision::Skip { why: format!("{proposal:?}") }),
    }));
    assert_eq!(approved(Some(rule), vec![]).await, ("launched".to_owned(), 1));
}

fn from_code(approval: Approval, tool: FunctionTool, program: &str) -> (Chat, Fake) {
    let fake = Fake::default();
    let code = Some(CodeExecution {
        tools: vec![Arc::new(tool)],
        approval,
        ..CodeExecution::new(Arc::new(fake.clone()))
    });
    let user = Agent { code, human_input: HumanInputMode::Never, ..Agent::new("user") };
    let assistant = Agent::assistant("assistant", script([python(program)]));
    (Chat { max_turns: Some(2), ..Chat::between(user, assistant) }, fake)
}

async fn run_from_code(approval: Approval, tool: FunctionTool, program: &str) -> ChatResult {
    from_code(approval, tool, program).0.run("hi").await.unwrap()
}

#[tokio::test]
async fn code_calls_tools_and_each_call_is_recorded() {
    let program = "call length {\"text\":\"abc\"}\ncall length {\"text\":\"abcde\"}";
    let result = run_from_code(Approval::Never, length(), program).await;
    assert_eq!(result.history[2].text(), "exitcode: 0 (execution succeeded)\nCode output: 3\n5\n");
    let calls: Vec<_> =
        result.tool_calls.iter().map(|call| (call.agent.as_str(), call.arguments.as_str(), call.answer.as_str(), call.from_code)).collect();
    assert_eq!(calls, [("user", r#"{"text":"abc"}"#, "3", true), ("user", r#"{"text":"abcde"}"#, "5", true)]);
    // What does not fit its schema is the program's error, and recorded.
    let result = run_from_code(Approval::Never, length(), "call length {\"text\":1}").await;
    assert!(result.history[2].text().contains("host.ToolError: the arguments do not fit"), "{}", result.history[2].text());
    assert!(result.tool_calls[0].is_error);
}

#[tokio::test]
async fn tools_in_code_need_the_same_approval() {
    let code_only = |verdict: Decision| {
        Approval::Policy(Arc::new(move |proposal: &Proposal| {
            Some(match proposal {
                Proposal::Tool { from_code: true, .. } => verdict.clone(),
                _ => Decision::Approve,
            })
        }))
    };
    let (tool, calls) = dangerous();
    let refused = code_only(Decision::Skip { why: "no".to_owned() });
    let result = run_from_code(refused, tool, "call launch {}").await;
    assert!(result.history[2].text().contains("the call was refused: no"), "{}", result.history[2].text());
    assert_eq!(calls.load(Ordering::SeqCst), 0);
    assert!(result.tool_calls[0].is_error && result.tool_calls[0].from_code);
    // Control. A function of nothing takes null and not an object, so this one takes a text.
    let mut tool = length();
    tool.needs_approval = true;
    let result = run_from_code(code_only(Decision::Approve), tool, "call length {\"text\":\"abc\"}").await;
    assert_eq!(result.history[2].text(), "exitcode: 0 (execution succeeded)\nCode output: 3\n");
}

#[tokio::test]
async fn calls_of_code_that_is_cut_off_are_recorded() {
    let (chat, fake) = from_code(Approval::Never, length(), "call length {\"text\":\"abc\"}\nwait");
    let cancel = chat.cancel.clone();
    let running = tokio::spawn(async move { chat.run("hi").await.unwrap() });
    while fake.waiting() == 0 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    cancel.cancel();
    assert_eq!(running.await.unwrap().tool_calls.len(), 1);
}

#[tokio::test]
async fn a_thousand_calls_are_recorded_and_the_rest_counted() {
    let program = "call length {\"text\":\"a\"}\n".repeat(1200);
    let result = run_from_code(Approval::Never, length(), &program).await;
    assert_eq!(result.tool_calls.len(), 1000);
    assert!(result.history[2].text().ends_with("note: 200 more calls of tools are not in the record"));
}

/// In a group the calls are made before anybody else speaks, and go back to who made them; a third agent is told in words.
#[tokio::test]
async fn tools_in_a_group() {
    let caller = script([Answer::Calls("I count.".to_owned(), vec![call("1", "length", r#"{"text":"four"}"#)]), "It is 4.".into()]);
    let third = script(["I heard."]);
    let counter = Agent { tools: vec![Arc::new(length())], ..Agent::assistant("counter", caller.clone()) };
    let group = |agents: Vec<Agent>| Chat { max_turns: Some(5), speakers: Speakers::RoundRobin, ..Chat::group(agents) };
    let agents = vec![says("user", "hm"), counter, Agent::assistant("third", third.clone())];
    let result = group(agents).run("How long is four?").await.unwrap();
    assert_eq!(names(&result), ["user", "counter", "counter", "counter", "third"]);
    let [_, ModelMessage::Assistant { .. }, ModelMessage::Tool(told)] = &caller.requests()[1].messages[..] else {
        panic!("{:?}", caller.requests()[1].messages)
    };
    assert_eq!(told.content, "4");
    let seen: Vec<_> = third.requests()[0].messages.iter().map(|message| match message {
        ModelMessage::User { name, content } => (name.clone().unwrap(), content.text().into_owned()),
        other => panic!("{other:?}"),
    }).collect();
    let seen: Vec<_> = seen.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    assert_eq!(
        seen,
        [
            ("user", "How long is four?"),
            ("counter", "I count.\n[calls length with {\"text\":\"four\"}]\n"),
            ("counter", "[result of length: 4]\n"),
            ("counter", "It is 4."),
        ]
    );
}

/// Somebody else of the group who has the tool makes the call.
#[tokio::test]
async fn who_has_the_tool_makes_the_call() {
    let caller = script([Answer::call("length", r#"{"text":"four"}"#), "It is 4.".into()]);
    let counter = Agent { tools: vec![Arc::new(length())], ..Agent::assistant("counter", caller) };
    let tool_runner = Agent { tools: vec![Arc::new(length())], ..says("runner", "not said") };
    let agents = vec![says("user", "hm"), counter, says("third", "hm"), tool_runner];
    let chat = Chat { max_turns: Some(4), speakers: Speakers::RoundRobin, ..Chat::group(agents) };
    assert_eq!(names(&chat.run("How long?").await.unwrap()), ["user", "counter", "runner", "counter"]);
}

/// A person who speaks in place of a tool answers the call, so that the model's conversation stays whole.
#[tokio::test]
async fn a_person_in_place_of_a_tool() {
    let (tool, calls) = dangerous();
    let model = script([Answer::call("launch", "null"), "As you like.".into()]);
    let assistant = Agent { tools: vec![Arc::new(tool)], ..Agent::assistant("assistant", model.clone()) };
    let human = Arc::new(ScriptedHuman::new(["Do not launch!", "exit"]));
    let user = Agent { human, ..Agent::user_proxy("user") };
    let result = Chat::between(user, assistant).run("hi").await.unwrap();
    assert_eq!(calls.load(Ordering::SeqCst), 0);
    assert_eq!(result.history[2].tool_results[0].content, "USER INTERRUPTED");
    let [_, _, ModelMessage::Tool(told), ModelMessage::User { content, .. }] = &model.requests()[1].messages[..] else {
        panic!("{:?}", model.requests()[1].messages)
    };
    assert_eq!((told.content.as_str(), &*content.text()), ("USER INTERRUPTED", "Do not launch!"));
}

/// A call that nobody answered, because a way to an answer came before, is closed for the model.
#[tokio::test]
async fn a_call_that_is_never_answered() {
    let model = script([Answer::call("length", "{}"), "well".into()]);
    let assistant = Agent { tools: vec![Arc::new(length())], ..Agent::assistant("assistant", model.clone()) };
    let mut user = says("user", "");
    user.replies.insert(0, cellblock_agents::Reply::custom(|_| Some("I do as I please.".into())));
    let chat = Chat { max_turns: Some(2), ..Chat::between(user, assistant) };
    chat.run("hi").await.unwrap();
    let [_, _, ModelMessage::Tool(told), ModelMessage::User { .. }] = &model.requests()[1].messages[..] else {
        panic!("{:?}", model.requests()[1].messages)
    };
    assert_eq!(told.content, "There is no result of this call.");
}

/// Some servers give all calls of a message the same id.
#[tokio::test]
async fn two_calls_of_one_id() {
    let calls = ["a", "bb"].map(|text| call("same", "length", &serde_json::json!({"text": text}).to_string()));
    let (chat, model) = chat_with(vec![length()], calls.to_vec());
    chat.run("hi").await.unwrap();
    let told: Vec<_> = model.requests()[1].messages.iter().filter_map(|message| match message {
        ModelMessage::Tool(result) => Some(result.content.clone()),
        _ => None,
    }).collect();
    assert_eq!(told, ["1", "2"]);
}

#[tokio::test]
async fn tools_are_told_as_events() {
    let (events, mut heard) = cellblock_agents::event::channel();
    let (chat, _) = chat_with(vec![length()], vec![call("1", "length", r#"{"text":"four"}"#)]);
    Chat { events: Some(events), ..chat }.run("hi").await.unwrap();
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    while let Ok(event) = heard.try_recv() {
        let json = serde_json::to_value(&event).unwrap();
        *kinds.entry(json["event"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    assert_eq!((kinds["tool_started"], kinds["tool_finished"], kinds["model_answered"]), (1, 1, 2), "{kinds:?}");
    assert_eq!((kinds["chat_started"], kinds["message"], kinds["chat_stopped"]), (1, 4, 1), "{kinds:?}");
}

#[tokio::test]
async fn an_agent_that_runs_code_has_the_tools_called_that_the_other_was_offered() {
    let model = script([Answer::call("length", r#"{"text":"four"}"#), "TERMINATE".into()]);
    let assistant = Agent { tools: vec![Arc::new(length())], ..Agent::assistant("assistant", model) };
    let result = Chat::between(runs("user", Fake::default()), assistant).run("hi").await.unwrap();
    assert_eq!(result.history[2].tool_results[0].content, "4");
}
