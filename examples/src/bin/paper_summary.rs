//! Map and reduce: five readers each summarise a chapter, all at once; an editor makes one summary
//! of the five.
//!
//! AutoGen: `a_initiate_chats([…])` with `prerequisites`.

use cellblock_agents::{
    Agent, Chat, HumanInputMode,
    sequence::{Step, run_as_ready},
};
use cellblock_examples::{Result, finish, model, transcript};

/// The paper is made up. Each chapter begins with a line `# …`.
const PAPER: &str = include_str!("../../data/paper.txt");

#[tokio::main]
async fn main() -> Result<()> {
    let model = model("paper_summary").await?;
    // One sink for all chats: it shows one of the chats that run at once at a time.
    let events = transcript();
    let chat_with = |name: String, system_message: &str| {
        let agent = Agent {
            system_message: system_message.to_owned(),
            ..Agent::assistant(name, model.clone())
        };
        let user = Agent { human_input: HumanInputMode::Never, ..Agent::user_proxy("user") };
        Chat { max_turns: Some(1), events: events.clone(), ..Chat::between(user, agent) }
    };

    let chapters = PAPER.split("\n# ").skip(1).enumerate();
    let mut steps: Vec<Step> = chapters
        .map(|(index, chapter)| {
            let chat = chat_with(
                format!("reader_{}", index + 1),
                "You sum up one chapter of a paper, in two sentences.",
            );
            Step::new(chat, format!("# {}", chapter.trim()))
        })
        .collect();
    let editor = chat_with(
        "editor".to_owned(),
        "You make one summary of a paper out of those of its chapters.",
    );
    let after = (0..steps.len()).collect();
    steps.push(Step { after, ..Step::new(editor, "Sum up the paper.") });

    for result in run_as_ready(steps).await?.into_iter().flatten() {
        finish(&result)?;
    }
    Ok(())
}
