//! A hierarchical chat: a project manager gives parts of a task to three members at once, and one
//! of them directs an auditor.
//!
//! AutoGen: the hierarchical chat among its conversation patterns, built from nested chats.

use std::sync::Arc;

use cellblock_agents::{Agent, Chat, HumanInputMode, ends_with_terminate, team::director};
use cellblock_examples::{Result, finish, model, transcript};

const TASK: &str = "\
Plan the launch of our web shop for lamps. Today is 2 June, and it is to open on 1 September. The \
budget is 60,000 euros. We have two developers (1,500 euros a week each) and one designer (1,400 \
euros a week, needed for 8 weeks); hosting and payment fees are 2,300 euros.";

#[tokio::main]
async fn main() -> Result<()> {
    let model = model("project_manager").await?;
    let member = |agent: Agent, description: &str, system_message: &str| Agent {
        description: description.to_owned(),
        system_message: system_message.to_owned(),
        ..agent
    };
    let assistant = |name: &str| Agent::assistant(name, model.clone());

    let auditor = member(
        assistant("auditor"),
        "Checks sums.",
        "You audit sums and find what is missing in them.",
    );
    let finance = member(
        director("finance", model.clone(), [auditor]),
        "Works out budgets.",
        "You work out budgets. Have every sum audited before you give it.",
    );
    let timeline = member(
        assistant("timeline"),
        "Plans time.",
        "You plan time: phases, weeks, what must be decided when.",
    );
    let staffing = member(
        assistant("staffing"),
        "Places people.",
        "You place people: who is needed when, who is missing.",
    );
    let manager = director("project_manager", model.clone(), [timeline, finance, staffing]);

    let user = Agent {
        human_input: HumanInputMode::Never,
        is_termination: Arc::new(ends_with_terminate),
        ..Agent::user_proxy("user")
    };
    let chat = Chat { events: transcript(), ..Chat::between(user, manager) };
    let result = chat.run(TASK).await?;
    finish(&result)
}
