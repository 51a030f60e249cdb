//! Two agents, one after the other: the second chat gets the result of the first (carryover).
//!
//! AutoGen: `initiate_chats([…])` with carryover.

use cellblock_agents::{
    Agent, Chat, HumanInputMode,
    sequence::{Step, run_in_order},
};
use cellblock_examples::{Result, finish, model, transcript};

const NOTICE: &str = include_str!("../../data/notice.txt");

#[tokio::main]
async fn main() -> Result<()> {
    let model = model("translate_and_summarise").await?;
    let user = Agent { human_input: HumanInputMode::Never, ..Agent::user_proxy("user") };
    let translator = Agent {
        system_message: "You translate into Korean. Answer with the translation only.".to_owned(),
        ..Agent::assistant("translator", model.clone())
    };
    let summariser = Agent {
        system_message: "You sum up texts in three short points, in the language of the text."
            .to_owned(),
        ..Agent::assistant("summariser", model)
    };

    let chat_with = |agent| Chat {
        max_turns: Some(1),
        events: transcript(),
        ..Chat::between(user.clone(), agent)
    };
    let steps = vec![
        Step::new(chat_with(translator), format!("Translate this notice:\n\n{NOTICE}")),
        Step::new(chat_with(summariser), "Sum up the translated notice."),
    ];
    for result in run_in_order(steps).await? {
        finish(&result)?;
    }
    Ok(())
}
