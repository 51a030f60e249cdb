//! Spans have the names of OpenTelemetry's conventions for generative AI.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    sync::{Arc, LazyLock, Mutex},
};

use cellblock_agents::scripted::{ScriptedAnswer, ScriptedModel};
use cellblock_agents::{Agent, Chat, ChatResult, Parameters, tool};
use tracing::{
    Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{Layer, layer::Context, prelude::*, registry::LookupSpan};

use crate::{
    cast::{python, runs},
    fake::Fake,
};

type Fields = BTreeMap<String, String>;

/// A closed span: its name, the name of its parent, and its fields.
type Closed = (String, Option<String>, Fields);

/// Collects closed spans by the conversation of the outermost one.
#[derive(Clone, Default)]
struct Keep(Arc<Mutex<BTreeMap<String, Vec<Closed>>>>);

/// One for the whole process: the decision to create a span is global.
static KEEP: LazyLock<Keep> = LazyLock::new(|| {
    let keep = Keep::default();
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(keep.clone()))
        .unwrap();
    keep
});

/// Runs a chat and returns its spans in the order of their ends.
async fn spans_of(chat: Chat) -> (ChatResult, Vec<Closed>) {
    LazyLock::force(&KEEP);
    let result = chat.run("hi").await.unwrap();
    let spans = KEEP.0.lock().unwrap().remove(&result.id).unwrap();
    (result, spans)
}

struct Collect<'f>(&'f mut Fields);

impl Visit for Collect<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }
}

impl<S: Subscriber + for<'s> LookupSpan<'s>> Layer<S> for Keep {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::new();
        attributes.record(&mut Collect(&mut fields));
        context.span(id).unwrap().extensions_mut().insert(fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        let mut extensions = span.extensions_mut();
        values.record(&mut Collect(extensions.get_mut().unwrap()));
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let span = context.span(&id).unwrap();
        let fields = span.extensions().get::<Fields>().unwrap().clone();
        let parent = span.parent().map(|parent| parent.name().to_owned());
        let outermost = span.scope().from_root().next().unwrap();
        let chat =
            outermost.extensions().get::<Fields>().unwrap().get("gen_ai.conversation.id").cloned();
        let closed = (span.name().to_owned(), parent, fields);
        self.0.lock().unwrap().entry(chat.unwrap_or_default()).or_default().push(closed);
    }
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Nothing {}

#[tokio::test]
async fn spans_of_a_chat() {
    let count = tool::function("count", "Counts.", |_: Nothing| async { Ok::<_, String>(3) });
    let fails =
        tool::function("fail", "Fails.", |_: Nothing| async { Err::<(), _>("out of order") });
    let answers: Vec<ScriptedAnswer> = vec![
        python("print 1").into(),
        ScriptedAnswer::call("count", "{}"),
        ScriptedAnswer::call("fail", "{}"),
        cellblock_agents::ModelError::Unanswered("no more".to_owned()).into(),
    ];
    let assistant = Agent {
        tools: vec![Arc::new(count), Arc::new(fails)],
        parameters: Parameters {
            temperature: Some(0.5),
            max_tokens: Some(99),
            ..Parameters::default()
        },
        ..Agent::assistant("assistant", Arc::new(ScriptedModel::new("m", answers).usage(12, 3)))
    };
    let (result, spans) = spans_of(Chat::between(runs("user", Fake::default()), assistant)).await;
    assert_eq!(result.history.len(), 7, "{}", result.stop);
    let of =
        |name: &str| -> Vec<&Closed> { spans.iter().filter(|(span, _, _)| span == name).collect() };
    let get = |fields: &Fields, name: &str| fields.get(name).cloned().unwrap_or_default();

    let [(_, parent, chat)] = of("conversation")[..] else { panic!("{spans:?}") };
    assert_eq!(*parent, None);
    assert_eq!(get(chat, "otel.name"), "conversation user, assistant");
    assert_eq!(get(chat, "gen_ai.conversation.id"), result.id);
    assert_eq!(get(chat, "cellblock.chat.stop"), "failed");

    // One for each turn of an agent; the last one of the assistant failed.
    let turns = of("invoke_agent");
    let who: Vec<_> = turns.iter().map(|(_, _, turn)| get(turn, "gen_ai.agent.name")).collect();
    assert_eq!(who, ["assistant", "user", "assistant", "user", "assistant", "user", "assistant"]);
    for (_, parent, turn) in turns {
        assert_eq!(parent.as_deref(), Some("conversation"));
        assert_eq!(get(turn, "gen_ai.operation.name"), "invoke_agent");
        assert_eq!(
            get(turn, "otel.name"),
            format!("invoke_agent {}", get(turn, "gen_ai.agent.name"))
        );
        assert_eq!(get(turn, "gen_ai.conversation.id"), result.id);
    }

    let calls = of("chat");
    assert_eq!(calls.len(), 4);
    let (_, parent, call) = calls[0];
    assert_eq!(parent.as_deref(), Some("invoke_agent"));
    for (name, value) in [
        ("otel.name", "chat m"),
        ("gen_ai.operation.name", "chat"),
        ("gen_ai.provider.name", "scripted"),
        ("gen_ai.request.model", "m"),
        ("gen_ai.request.temperature", "0.5"),
        ("gen_ai.request.max_tokens", "99"),
        ("gen_ai.response.model", "m"),
        ("gen_ai.usage.input_tokens", "12"),
        ("gen_ai.usage.output_tokens", "3"),
        ("gen_ai.agent.name", "assistant"),
    ] {
        assert_eq!(get(call, name), value, "{name}: {call:?}");
    }
    assert_eq!(get(call, "gen_ai.conversation.id"), result.id);
    assert_eq!(get(call, "gen_ai.response.finish_reasons"), "stop");
    assert!(!call.contains_key("error.type"));
    assert_eq!(get(&calls[1].2, "gen_ai.response.finish_reasons"), "tool_calls");
    assert_eq!(get(&calls[3].2, "error.type"), "unanswered");

    let [(_, parent, code)] = of("execute_code")[..] else { panic!("{spans:?}") };
    assert_eq!(parent.as_deref(), Some("invoke_agent"));
    assert_eq!(
        (get(code, "cellblock.executor"), get(code, "cellblock.blocks")),
        ("fake".to_owned(), "1".to_owned())
    );

    let tools = of("execute_tool");
    let (_, parent, tool) = tools[0];
    assert_eq!(parent.as_deref(), Some("invoke_agent"));
    assert_eq!(get(tool, "gen_ai.operation.name"), "execute_tool");
    assert_eq!(
        (get(tool, "gen_ai.tool.name"), get(tool, "gen_ai.tool.call.id")),
        ("count".to_owned(), "call_count".to_owned())
    );
    assert!(!tool.contains_key("error.type"));
    assert_eq!(get(&tools[1].2, "error.type"), "tool_error");
    // No span contains the conversation.
    let all = format!("{spans:?}");
    for said in ["print 1", "hi", "out of order", "no more"] {
        assert!(!all.contains(&format!("{said}\"")), "{said}: {all}");
    }
}

/// The span of a nested chat is within that of the outer chat.
#[tokio::test]
async fn spans_of_a_nested_chat() {
    let member = Agent::assistant("member", crate::cast::script(["done"]));
    let model = crate::cast::script([
        ScriptedAnswer::call("ask_member", r#"{"task":"work"}"#),
        "TERMINATE".into(),
    ]);
    let boss = cellblock_agents::team::director("boss", model, [member]);
    let (_, spans) = spans_of(Chat::between(crate::cast::says("user", ""), boss)).await;
    let parents: Vec<_> = spans
        .iter()
        .filter(|(name, _, _)| name == "conversation")
        .map(|(_, parent, _)| parent.as_deref())
        .collect();
    assert_eq!(parents, [Some("execute_tool"), None]);
}
