//! Chats that a file describes.

use insta::assert_snapshot;
use serde_json::json;

use crate::{
    command::{TestDir, fixture, require_image},
    recording::{answer, exchange, recorded},
};

const TEAM: &str = r#"
task = "How long is the trip, in one sentence?"

[models.strong]
model = "openai/gpt-4o"
parameters = { temperature = 0.2 }
cache = 7

[[agents]]
name = "user"
kind = "user"

[[agents]]
name = "lead"
model = "strong"
team = ["analyst", "writer"]

[[agents]]
name = "analyst"
code = true
description = "Computes with Python."

[[agents]]
name = "writer"
description = "Writes sentences."
"#;

#[test]
fn a_director_with_members() {
    require_image();
    let dir = TestDir::new();
    dir.write("team.toml", TEAM);
    let recording = fixture("recordings/team.jsonl");
    let args = ["chat", "--config", "team.toml", "--replay", &recording, "--executor", "wasi"];
    let output = dir.run(&args);
    assert_eq!(output.code, Some(0), "{output}");
    let position_of =
        |part: &str| output.stdout.find(part).unwrap_or_else(|| panic!("{part}: {output}"));
    assert!(position_of("user (to lead):") < position_of("    lead (to analyst):"));
    assert!(
        position_of("    Code output: 645")
            < position_of("lead (to user):\n\nThe trip is 645 km long.")
    );
    let json = dir.run(&[&args[..], &["--json"]].concat()).json();
    assert_eq!(json["tool_calls"].as_array().unwrap().len(), 2, "{json}");
}

const DESIGNERS: &str = r#"
[[agents]]
name = "host"
kind = "user"
code = false

[[agents]]
name = "ann"
model = "local"
system_message = "You care for colours."

[[agents]]
name = "ben"
model = "local"
system_message = "You care for users."

[[agents]]
name = "editor"
model = "local"
system_message = "You sum up."
"#;

#[test]
fn a_joint_chat() {
    let dir = TestDir::new();
    dir.write(
        "joint.toml",
        format!("{DESIGNERS}\n[chat]\nkind = \"joint\"\nagents = [\"host\", \"ann\", \"ben\"]\n"),
    );
    let recording = fixture("recordings/designers.jsonl");
    let output =
        dir.run(&["chat", "Which colour?", "--config", "joint.toml", "--replay", &recording]);
    assert_eq!(output.code, Some(0), "{output}");
    let speakers: Vec<_> =
        output.stdout.lines().filter(|line| line.ends_with(" (to chat_manager):")).collect();
    assert_eq!(
        speakers,
        ["host (to chat_manager):", "ann (to chat_manager):", "ben (to chat_manager):"]
    );
    assert!(output.stdout.contains("\nNext speaker: ben\n\n"), "{output}");
}

#[test]
fn a_sequence_of_chats() {
    let dir = TestDir::new();
    let steps = r#"
        [[sequence]]
        name = "talk"
        chat = { kind = "joint", agents = ["host", "ann", "ben"] }

        [[sequence]]
        task = "Sum up."
        chat = { agents = ["host", "editor"], max_turns = 1 }
    "#;
    dir.write("steps.toml", format!("{DESIGNERS}\n{steps}"));
    let recording = fixture("recordings/designers.jsonl");
    let args = ["chat", "Which colour?", "--config", "steps.toml", "--replay", &recording];
    let output = dir.run(&[&args[..], &["--json"]].concat());
    let json = output.json();
    assert_eq!((output.code, &json["exit_code"]), (Some(0), &0.into()), "{output}");
    assert_eq!(json["chats"][1]["summary"], "Blue buttons. ", "{json}");
    let opening = json["chats"][1]["chat_history"][0]["content"].as_str().unwrap();
    assert!(
        opening.starts_with("Sum up.\nContext: \n") && opening.contains("Users find blue buttons"),
        "{opening}"
    );
    let output = dir.run(&[&args[..], &["--save", "chat.jsonl"]].concat());
    assert_eq!(output.code, Some(2), "{output}");
    assert!(output.stderr.contains("a sequence of chats cannot be saved"), "{output}");
}

/// Returns a directory with a chat file and a recording of these answers.
fn dir_with(file: &str, answers: &[String]) -> TestDir {
    let dir = recorded(answers);
    dir.write("chat.toml", file);
    dir
}

/// A person and an assistant.
const TWO: &str = "[[agents]]\nname = \"user\"\nkind = \"user\"\n[[agents]]\nname = \"ann\"\n";

const ARGS: [&str; 7] =
    ["chat", "--config", "chat.toml", "--replay", "answers.jsonl", "--executor", "local"];

#[test]
fn chats_of_a_file_share_what_the_command_line_allows() {
    let step = "[[sequence]]\ntask = \"Say one.\"\nchat = { max_turns = 1 }\n";
    let file = format!("{TWO}{step}{step}");
    let costs = exchange("", json!({"content": "One.", "cost": 0.5}));
    // No task is needed if each chat has its own.
    let run = |more: &[&str]| {
        dir_with(&file, &[costs.clone(), costs.clone()]).run(&[&ARGS[..], more].concat())
    };
    let output = run(&["--json", "--budget", "0.4"]);
    let json = output.json();
    assert_eq!(
        (output.code, &json["chats"][1]["stop"]["of"]),
        (Some(126), &"cost".into()),
        "{output}"
    );
    assert_eq!(json["chats"][0]["summary"], "One.", "what was reached is kept: {output}");
    let output = run(&["--json", "--budget", "0.9"]);
    assert_eq!(
        (output.code, &output.json()["chats"][1]["summary"]),
        (Some(0), &"One.".into()),
        "{output}"
    );
    let output = run(&["A task"]);
    assert_eq!(output.code, Some(2), "{output}");
    assert!(output.stderr.contains("each [[sequence]] of the file has its own `task`"), "{output}");
}

#[test]
fn code_beside_the_last_word_of_a_group_runs_first() {
    let file =
        format!("{TWO}[chat]\nkind = \"group\"\nspeakers = \"round_robin\"\nmax_turns = 6\n");
    let code = answer("", "```sh\necho $((40 + 2))\n```\nTERMINATE");
    let done = answer("output: 42", "It is 42. TERMINATE");
    let task = "Add, and say TERMINATE.";
    let output =
        dir_with(&file, &[done, code.clone()]).run(&[&ARGS[..], &["--json", task]].concat());
    assert_eq!(
        (output.code, output.json()["chat_history"].as_array().unwrap().len()),
        (Some(0), 4),
        "{output}"
    );
    assert_eq!(output.json()["stop"]["reason"], "termination", "{output}");
    // If no code runs, the word counts.
    let output =
        dir_with(&file, &[code]).run(&[&ARGS[..], &["--json", "--text-only", task]].concat());
    assert_eq!(
        (output.code, output.json()["chat_history"].as_array().unwrap().len()),
        (Some(0), 2),
        "{output}"
    );
}

#[test]
fn a_summary_of_a_model_is_shown() {
    let answers = [answer("joke", "A stock walks in. TERMINATE"), answer("", "A joke was told.")];
    let run = |summary: &str| {
        dir_with(&format!("{TWO}[chat]\nsummary = \"{summary}\"\n"), &answers)
            .run(&[&ARGS[..], &["A joke"]].concat())
    };
    let output = run("reflection");
    assert!(output.stdout.ends_with("\n\n>>>>>>>> SUMMARY:\n\nA joke was told.\n"), "{output}");
    assert!(!run("last_message").stdout.contains("SUMMARY"));
}

#[test]
fn the_examples_of_the_documentation_work() {
    let dir = TestDir::new();
    let text = std::fs::read_to_string(fixture("../docs/chat.md")).unwrap();
    let blocks = cellblock_answer::code_blocks(&text);
    let is_toml = |language: &str| language == "toml";
    let examples = blocks
        .iter()
        .filter(|block| block.language.as_ref().is_some_and(|language| is_toml(language.as_str())));
    let recording = fixture("recordings/stock-chart.jsonl");
    let mut count = 0;
    for example in examples {
        // Models alone are no chat.
        let agents = if example.code.contains("[[agents]]") { "" } else { DESIGNERS };
        dir.write("chat.toml", format!("{}{agents}", example.code));
        // The chat starts, and stops at the first answer, which the recording does not have.
        let output = dir.run(&["chat", "task", "--config", "chat.toml", "--replay", &recording]);
        assert_eq!(output.code, Some(125), "line {}: {output}", example.line);
        assert!(
            output.stderr.contains("the recording has no answer"),
            "line {}: {output}",
            example.line
        );
        count += 1;
    }
    assert!(count >= 5, "{count} examples");
}

#[test]
fn errors_name_the_line_of_the_file() {
    let dir = TestDir::new();
    let recording = fixture("recordings/team.jsonl");
    let users = "[[agents]]\nname = \"user\"\nkind = \"user\"\n\n[[agents]]\nname = \"ann\"\n\n";
    let with_users = |more: &str| format!("{users}{more}");
    for (name, text) in [
        ("field", "[[agents]]\nname = \"user\"\nkindd = \"user\"\n".to_owned()),
        ("model-field", "[models.fast]\nmodle = \"gpt-4o\"\n".to_owned()),
        ("kind", "[[agents]]\nname = \"user\"\nkind = \"usr\"\n".to_owned()),
        ("no-name", "[[agents]]\nkind = \"user\"\n".to_owned()),
        ("syntax", "[chat\n".to_owned()),
        ("agent", with_users("[chat]\nagents = [\n  \"user\",\n  \"anne\",\n]\n")),
        (
            "model",
            "[models.fast]\n[[agents]]\nname = \"a\"\nmodel = \"fats\"\n\
             [[agents]]\nname = \"b\"\n"
                .to_owned(),
        ),
        ("twice", with_users("[[agents]]\nname = \"ann\"\n")),
        ("few", "[[agents]]\nname = \"ann\"\n".to_owned()),
        (
            "circle",
            with_users(
                "team = [\"ben\"]\n[[agents]]\nname = \"ben\"\nteam = [\"ann\"]\n\
                 [chat]\nagents = [\"user\", \"ann\"]\n",
            ),
        ),
        (
            "user-model",
            "[[agents]]\nname = \"user\"\nkind = \"user\"\nmodel = \"local\"\n\
             [[agents]]\nname = \"ann\"\n"
                .to_owned(),
        ),
        ("pair-of-three", with_users("[[agents]]\nname = \"ben\"\n[chat]\nkind = \"pair\"\n")),
        ("pair-speakers", with_users("[chat]\nspeakers = \"random\"\n")),
        (
            "selector",
            with_users("[chat]\nkind = \"group\"\nspeakers = \"random\"\nselector = \"local\"\n"),
        ),
        ("after", with_users("[[sequence]]\nafter = [\"first\"]\n")),
        ("both", with_users("[chat]\n[[sequence]]\n")),
        ("budget", with_users("[chat]\nbudget = { cots = 1 }\n")),
    ] {
        dir.write("chat.toml", text);
        let output = dir.run(&["chat", "task", "--config", "chat.toml", "--replay", &recording]);
        assert_snapshot!(format!("chat-config-{name}"), output.without_lists());
        assert_eq!(output.code, Some(2));
        assert!(output.stderr.contains("`chat.toml`, line "), "{output}");
    }
    let output = dir.run(&["chat", "task", "--config", "missing.toml"]);
    assert_snapshot!("chat-config-missing", output);
}
