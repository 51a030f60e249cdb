//! Directors and their teams.

use std::{sync::Arc, time::Duration};

use cellblock_agents::scripted::{ScriptedAnswer, ScriptedModel};
use cellblock_agents::{
    Agent, Approval, Chat, CodeExecution, Decision, Human, ModelMessage, Nobody, ScriptedHuman,
    StopReason,
    team::{Member, director},
};

use crate::{
    cast::{last, meets, python, says, script},
    fake::Fake,
};

/// A project manager directs a lead, who directs a coder, whose code runs.
#[tokio::test]
async fn a_director_of_two_levels() {
    let fake = Fake::default();
    let task = |name: &str, task: &str| {
        ScriptedAnswer::call(format!("ask_{name}"), serde_json::json!({"task": task}).to_string())
    };
    let coder_model = script([python("print built"), "It is built. TERMINATE".to_owned()]);
    let coder = Member {
        agent: Agent::assistant("coder", coder_model.clone()),
        code: Some(cellblock_agents::CodeExecution::new(Arc::new(fake.clone()))),
    };
    let lead = director(
        "lead",
        script([task("coder", "build it"), "The coder says it is built. TERMINATE".into()]),
        [coder],
    );
    let manager_model =
        script([task("lead", "see that it is built"), "All done. TERMINATE".into()]);
    let manager = director("manager", manager_model.clone(), [lead]);
    let chat = Chat { max_turns: Some(2), ..Chat::between(says("user", ""), manager) };
    let result = chat.run("Build it.").await.unwrap();
    assert_eq!(last(&result), "All done. TERMINATE");
    assert_eq!(fake.ran(), ["print built\n"]);
    let ModelMessage::Tool(told) = &manager_model.requests()[1].messages[2] else { panic!() };
    assert_eq!((told.content.as_str(), told.is_error), ("The coder says it is built.", false));
    // The coder saw the output of its code, and nothing of the conversation above.
    let ModelMessage::User { content, .. } =
        coder_model.requests()[1].messages.last().unwrap().clone()
    else {
        panic!()
    };
    assert_eq!(content.text(), "exitcode: 0 (execution succeeded)\nCode output: built\n");
    assert_eq!(coder_model.requests()[0].messages.len(), 1);
    assert_eq!(result.cost.including_cached.models["scripted"].total_tokens, 0);
}

/// Code of a member without code execution is a part of its answer.
#[tokio::test]
async fn a_member_without_a_place_to_run_code() {
    let answer = python("print x");
    let member = Agent::assistant("member", script([answer.as_str()]));
    let model =
        script([ScriptedAnswer::call("ask_member", r#"{"task":"write"}"#), "thanks".into()]);
    let chat = Chat {
        max_turns: Some(2),
        ..Chat::between(says("user", ""), director("boss", model.clone(), [member]))
    };
    assert_eq!(last(&chat.run("hi").await.unwrap()), "thanks");
    let ModelMessage::Tool(told) = &model.requests()[1].messages[2] else { panic!() };
    assert_eq!(told.content, answer.trim());
}

/// A member whose code runs may answer with data in a fence; that is not code.
#[tokio::test]
async fn a_member_that_answers_with_data() {
    let answer = "Here:\n```json\n{\"a\": 1}\n```";
    let member = Member {
        agent: Agent::assistant("member", script([answer])),
        code: Some(cellblock_agents::CodeExecution::new(Arc::new(Fake::default()))),
    };
    let model =
        script([ScriptedAnswer::call("ask_member", r#"{"task":"write"}"#), "thanks".into()]);
    let chat = Chat {
        max_turns: Some(2),
        ..Chat::between(says("user", ""), director("boss", model.clone(), [member]))
    };
    chat.run("hi").await.unwrap();
    let ModelMessage::Tool(told) = &model.requests()[1].messages[2] else { panic!() };
    assert_eq!((told.content.as_str(), told.is_error), (answer, false));
}

#[tokio::test]
async fn a_member_that_fails_is_told_to_the_director() {
    let broken = Agent::assistant("broken", script::<&str>([]));
    let silent = Agent::assistant("silent", script(["", "", "", ""]));
    let calls = ["broken", "silent", "nobody"].map(|name| cellblock_agents::ToolCall {
        id: name.to_owned(),
        name: format!("ask_{name}"),
        arguments: r#"{"task":"work"}"#.to_owned(),
    });
    let model = script([ScriptedAnswer::Calls(String::new(), calls.to_vec()), "I see.".into()]);
    let chat = Chat {
        max_turns: Some(2),
        ..Chat::between(says("user", ""), director("boss", model, [broken, silent]))
    };
    let result = chat.run("hi").await.unwrap();
    let told: Vec<_> =
        result.history[2].tool_results.iter().map(|result| result.content.as_str()).collect();
    assert!(told[0].starts_with("Error: the model of `broken` failed"), "{told:?}");
    // A member that says nothing has an empty answer.
    assert_eq!(told[1], "");
    assert_eq!(told[2], "Error: Function ask_nobody not found.");
    assert_eq!(last(&result), "I see.");
}

/// Map and reduce: the members work at the same time.
#[tokio::test]
async fn members_work_at_once() {
    // Each answers only when all three have been asked.
    let meet = Arc::new(tokio::sync::Barrier::new(3));
    let readers = ["reader_1", "reader_2", "reader_3"].map(|name| meets(name, &meet));
    let calls: Vec<_> = (1..=3)
        .map(|number| cellblock_agents::ToolCall {
            id: number.to_string(),
            name: format!("ask_reader_{number}"),
            arguments: serde_json::json!({"task": format!("chapter {number}")}).to_string(),
        })
        .collect();
    let model = Arc::new(ScriptedModel::with(move |request| match request.messages.len() {
        1 => ScriptedAnswer::Calls(String::new(), calls.clone()),
        _ => {
            let parts = request.messages.iter().filter_map(|message| match message {
                ModelMessage::Tool(result) => Some(result.content.clone()),
                _ => None,
            });
            parts.collect::<Vec<_>>().join("; ").into()
        }
    }));
    let chat = Chat {
        max_turns: Some(2),
        ..Chat::between(says("user", ""), director("head", model, readers))
    };
    let running = tokio::time::timeout(Duration::from_secs(30), chat.run("Sum up the paper."));
    let result = running.await.unwrap().unwrap();
    assert_eq!(last(&result), "met for chapter 1; met for chapter 2; met for chapter 3");
}

/// A chat in which a director gives a task to its only member.
fn with_member(member: impl Into<Member>) -> Chat {
    let member = member.into();
    let tool = cellblock_agents::team::member_tool(member.clone()).spec.name;
    let model =
        script([ScriptedAnswer::call(tool, r#"{"task":"work"}"#), "I see. TERMINATE".into()]);
    Chat {
        max_turns: Some(2),
        ..Chat::between(says("user", ""), director("boss", model, [member]))
    }
}

/// Approval applies to the members of a team: the person of the chat is asked.
#[tokio::test]
async fn a_members_code_is_approved_by_the_person_of_the_chat() {
    let decide =
        |decision| Arc::new(ScriptedHuman::new::<&str>([]).deciding([decision])) as Arc<dyn Human>;
    let no = Decision::Correct { text: "Not like this.".to_owned() };
    for group in [false, true] {
        for (human, runs) in [
            (decide(Decision::Approve), 1),
            (decide(no.clone()), 0),
            (Arc::new(Nobody) as Arc<dyn Human>, 0),
        ] {
            let fake = Fake::default();
            let code = CodeExecution {
                approval: Approval::Always,
                ..CodeExecution::new(Arc::new(fake.clone()))
            };
            let coder = Agent::assistant(
                "coder",
                script([python("print built"), "It is done.".to_owned()]),
            );
            let mut chat = with_member(Member { agent: coder, code: Some(code) });
            chat.agents[0].human = human.clone();
            if group {
                // The director calls its tools itself there, and nobody is behind it.
                chat = Chat { max_turns: Some(4), ..Chat::joint(chat.agents) };
            }
            let result = chat.run("hi").await.unwrap();
            assert_eq!(fake.ran().len(), runs, "{group} {human:?} {:?}", result.history);
            let heard: Vec<_> = result.human_input.iter().map(String::as_str).collect();
            let corrected = runs == 0 && human.is_present();
            assert_eq!(heard, if corrected { vec!["boss: Not like this."] } else { vec![] });
        }
    }
}

/// Calls below are in the result above, even those of a stopped member.
#[tokio::test]
async fn calls_of_members_are_recorded() {
    #[derive(serde::Deserialize, schemars::JsonSchema)]
    struct Nothing {}
    let tool = || {
        Arc::new(cellblock_agents::tool::function("count", "Counts.", |_: Nothing| async {
            Ok::<_, String>(3)
        }))
    };
    let code =
        CodeExecution { tools: vec![tool()], ..CodeExecution::new(Arc::new(Fake::default())) };
    let answers: Vec<ScriptedAnswer> =
        vec![ScriptedAnswer::call("count", "{}"), python("call count {}").into(), "Three.".into()];
    let coder = Agent { tools: vec![tool()], ..Agent::assistant("coder", script(answers)) };
    let result = with_member(Member { agent: coder, code: Some(code) }).run("hi").await.unwrap();
    let calls: Vec<_> = result
        .tool_calls
        .iter()
        .map(|call| (call.agent.as_str(), call.name.as_str(), call.from_code))
        .collect();
    assert_eq!(
        calls,
        [("coder", "count", false), ("boss", "count", true), ("boss", "ask_coder", false)]
    );
}

/// Code of a member runs even with the word below it.
#[tokio::test]
async fn a_member_that_is_done_too_early() {
    let fake = Fake::default();
    let code = Some(CodeExecution::new(Arc::new(fake.clone())));
    let answers = [format!("{}\nTERMINATE", python("print built")), "Built. TERMINATE".to_owned()];
    let result = with_member(Member { agent: Agent::assistant("coder", script(answers)), code })
        .run("hi")
        .await
        .unwrap();
    assert_eq!(fake.ran(), ["print built\n"]);
    assert_eq!(result.history[2].tool_results[0].content, "Built.");
}

/// The partial result of a stopped member is not lost.
#[tokio::test]
async fn a_member_that_is_stopped_tells_what_it_has() {
    let code = || Some(CodeExecution::new(Arc::new(Fake::default())));
    let half = cellblock_agents::ModelError::Interrupted {
        provider: "p".to_owned(),
        received: "the rest is".to_owned(),
        source: None,
    };
    let found = format!("I found 42.\n{}", python("print 1"));
    let fails = vec![
        found.clone().into(),
        cellblock_agents::ModelError::Unanswered("no more".to_owned()).into(),
    ];
    let breaks_off: Vec<ScriptedAnswer> = vec![found.into(), half.into()];
    for (answers, words) in [(fails, "I found 42."), (breaks_off, "the rest is")] {
        let agent = Agent::assistant("member", script::<ScriptedAnswer>(answers));
        let result = with_member(Member { agent, code: code() }).run("hi").await.unwrap();
        let told = &result.history[2].tool_results[0];
        assert!(
            told.is_error && told.content.starts_with("Error: the model of `member` failed"),
            "{told:?}"
        );
        assert!(told.content.contains(&format!("\nWhat member said last:\n{words}")), "{told:?}");
    }
}

#[tokio::test]
async fn members_have_names_of_all_languages() {
    let long = "a name that is far too long for a tool of any of the large providers of models";
    let names = [
        "\u{ae40}\u{cca0}\u{c218}",
        "\u{c774}\u{c601}\u{d76c}",
        "chef \u{c694}\u{b9ac}\u{c0ac}",
        long,
        "a b",
        "a_b",
        "coder",
    ];
    let members = names.map(|name| says(name, &format!("I am {name}")));
    let tools: Vec<String> = director("boss", script(["x"]), members.clone())
        .tools
        .iter()
        .map(|tool| tool.spec().name.clone())
        .collect();
    assert_eq!((tools[4].as_str(), tools[6].as_str()), ("ask_a_b", "ask_coder"));
    assert!(
        tools[2].starts_with("ask_chef_") && tools[3].starts_with("ask_a_name_that"),
        "{tools:?}"
    );
    let calls: Vec<_> = tools
        .iter()
        .map(|name| cellblock_agents::ToolCall {
            id: name.clone(),
            name: name.clone(),
            arguments: r#"{"task":"who?"}"#.to_owned(),
        })
        .collect();
    let model = script([ScriptedAnswer::Calls(String::new(), calls), "I see.".into()]);
    let chat = Chat {
        max_turns: Some(2),
        ..Chat::between(says("user", ""), director("boss", model, members))
    };
    let result = chat.run("hi").await.unwrap();
    assert_eq!(result.stop, StopReason::MaxTurns { turns: 2 });
    let told: Vec<_> =
        result.history[2].tool_results.iter().map(|result| result.content.clone()).collect();
    assert_eq!(told, names.map(|name| format!("I am {name}")));
}
