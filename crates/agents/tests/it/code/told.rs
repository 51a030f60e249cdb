//! The message that reports a run.

use std::sync::Arc;

use cellblock_agents::scripted::ScriptedModel;
use cellblock_agents::{Agent, Chat, CodeExecution, Content, Event, Image, ModelMessage, Part};

use super::*;
use crate::{
    cast::{last, python, runs, says, script},
    fake::{Fake, PICTURE},
};

#[tokio::test]
async fn each_of_several_blocks_is_reported() {
    let message =
        format!("{}{}\n```text\nno code\n```\n", python("print one"), python("write a.txt 1"));
    assert_eq!(
        answer(&message).await,
        "exitcode: 0 (execution succeeded)\nCode output: \n[block 0, python: exit code 0]\none\n\n\
         [block 1, python: exit code 0]\n\n[block 2, text: not run]\n\n\
         note: a text block is data; it was not run\nfiles: a.txt"
    );
}

#[tokio::test]
async fn output_is_capped_with_head_and_tail() {
    let small =
        CodeExecution { max_output_bytes: 1000, ..CodeExecution::new(Arc::new(Fake::default())) };
    let told = last(&answer_with(small.clone(), &python("flood 5000")).await);
    assert!(
        told.len() < 1200 && told.contains("Code output: HEADx") && told.contains("xTAIL\n"),
        "{told}"
    );
    assert!(told.contains("[... 4009 bytes left out ...]"), "{told}");
    // A long block gets the share that a short one does not use.
    let both = format!("{}{}", python("print short"), python("flood 5000"));
    let told = last(&answer_with(small.clone(), &both).await);
    let shown = told.matches('x').count();
    assert!(told.contains("short\n") && (900..1000).contains(&shown), "{shown}: {told}");
    // A thousand blocks have a maximum in total, too.
    let many = python("flood 100").repeat(1000);
    let told = last(&answer_with(small, &many).await);
    assert!(told.len() < 11_000, "{}", told.len());
    assert!(told.contains("[block 0, python") && told.contains("[block 999, python"));
}

#[tokio::test]
async fn a_thousand_files_with_long_names_are_bounded() {
    let lines: Vec<_> =
        (0..1000).map(|number| format!("write {}{number}.txt 1", "n".repeat(200))).collect();
    let result =
        answer_with(CodeExecution::new(Arc::new(Fake::default())), &python(&lines.join("\n")))
            .await;
    assert_eq!(result.history[1].artifacts.len(), 1000);
    assert!(last(&result).len() < 5000, "{}", last(&result).len());
}

/// A refused file name is reported with its reason, and the file is not recorded.
#[tokio::test]
async fn names_of_version_control_are_told_and_not_kept() {
    let of = |directory: &str| {
        format!(
            "```ini {directory}/config\n[core]\n```\n```python:{directory}/x.py\nprint ran\n```\n"
        )
    };
    let code = || CodeExecution::new(Arc::new(Fake::default()));
    let result = answer_with(code(), &of(".git")).await;
    let told = last(&result);
    assert!(told.starts_with("exitcode: 0") && told.contains("\nran\n"), "{told}");
    assert!(told.contains("\nnote: .git was refused: version control"), "{told}");
    assert!(result.history[1].artifacts.is_empty(), "{result:?}");
    // Control: a valid name.
    let kept = answer_with(code(), &of("git")).await;
    let paths: Vec<_> =
        kept.history[1].artifacts.iter().map(|artifact| artifact.path.as_str()).collect();
    assert_eq!(paths, ["git/config", "git/x.py"], "{kept:?}");
}

#[tokio::test]
async fn a_thousand_fences() {
    let fake = Fake::default();
    let code = CodeExecution::new(Arc::new(fake.clone()));
    let result =
        answer_with(code, &format!("{}{}", python("add 1").repeat(999), python("number"))).await;
    assert_eq!(fake.ran().len(), 1000);
    let told = last(&result);
    assert!(
        told.starts_with("exitcode: 0") && told.trim_end().ends_with("999"),
        "{}",
        &told[told.len() - 200..]
    );
    assert!(told.len() < 21_000, "{}", told.len());
}

#[tokio::test]
async fn a_failure_and_a_timeout_are_told() {
    assert_eq!(
        answer(&python("print a\nexit 3")).await,
        "exitcode: 3 (execution failed)\nCode output: a\n"
    );
    let told = answer(&python("print a\ntimeout")).await;
    assert!(
        told.starts_with("exitcode: 124 (execution failed)\nCode output: a\nTimeout\n"),
        "{told}"
    );
    assert!(told.contains("variables and imports of earlier blocks are lost"), "{told}");
    let told = answer("```ruby\nputs 1\n```").await;
    assert!(told.starts_with("exitcode: 1 (execution failed)") && told.contains("ruby"), "{told}");
    let told = answer("```\nLorem ipsum dolor sit amet\n```").await;
    assert!(
        told.starts_with("exitcode: 1 (execution failed)") && told.contains("no language"),
        "{told}"
    );
}

/// The second request to a model whose code created an image.
async fn told_of_picture(model: ScriptedModel) -> Content {
    let model = Arc::new(model);
    let assistant = Agent::assistant("assistant", model.clone());
    let chat =
        Chat { max_turns: Some(2), ..Chat::between(runs("user", Fake::default()), assistant) };
    chat.run("Plot.").await.unwrap();
    let ModelMessage::User { content, .. } = model.requests()[1].messages[2].clone() else {
        panic!()
    };
    content
}

#[tokio::test]
async fn pictures_go_to_models_that_see() {
    let answers = || [python("picture plot.png\nwrite data.csv 1"), "nice".to_owned()];
    let text =
        "exitcode: 0 (execution succeeded)\nCode output: \nfiles: data.csv, plot.png".to_owned();
    let content = told_of_picture(ScriptedModel::new("m", answers()).seeing_images()).await;
    let image = Image { media_type: "image/png".to_owned(), data: Arc::new(PICTURE.to_vec()) };
    assert_eq!(
        content,
        Content::Parts(vec![Part::Text { text: text.clone() }, Part::Image(image)])
    );
    // A model that does not see images gets the name.
    assert_eq!(told_of_picture(ScriptedModel::new("m", answers())).await, Content::Text(text));
}

#[tokio::test]
async fn only_so_many_pictures() {
    let lines: Vec<_> = (0..10).map(|number| format!("picture {number}.png")).collect();
    for (images, expected) in [(4, 4), (0, 0), (20, 10)] {
        let code =
            CodeExecution { max_images: images, ..CodeExecution::new(Arc::new(Fake::default())) };
        let result = answer_with(code, &python(&lines.join("\n"))).await;
        assert_eq!(result.history[1].content.images().count(), expected);
        assert_eq!(result.history[1].artifacts.len(), 10);
    }
}

#[tokio::test]
async fn a_model_that_does_not_see_is_told_of_pictures_in_messages() {
    let image = Image { media_type: "image/jpeg".to_owned(), data: Arc::new(vec![1]) };
    let content =
        Content::Parts(vec![Part::Text { text: "What is this?".to_owned() }, Part::Image(image)]);
    let model = script(["I cannot see."]);
    let chat = Chat {
        max_turns: Some(1),
        ..Chat::between(says("user", ""), Agent::assistant("b", model.clone()))
    };
    chat.run(content).await.unwrap();
    let ModelMessage::User { content, .. } = &model.requests()[0].messages[0] else { panic!() };
    assert_eq!(
        content.text(),
        "What is this?\n[1 not shown, because you cannot see images: image/jpeg]"
    );
}

#[tokio::test]
async fn output_is_told_while_it_comes() {
    let (events, mut heard) = cellblock_agents::event::channel();
    let chat = Chat {
        events: Some(events),
        max_turns: Some(1),
        ..Chat::between(says("a", ""), runs("user", Fake::default()))
    };
    chat.run("```python\nprint one\n```\n\n```\nprint(\"two\")\n```").await.unwrap();
    let mut told = Vec::new();
    while let Ok(event) = heard.try_recv() {
        match event {
            Event::BlockStarted { index, language, inferred, .. } => {
                told.push(format!("{index} {language} {inferred}"))
            }
            Event::BlockOutput { text, .. } if !text.is_empty() => told.push(text),
            _ => {}
        }
    }
    assert_eq!(told, ["0 python false", "one\n", "1 python true"]);
}
