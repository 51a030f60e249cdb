//! Three reviewers in one conversation, who speak in turn. The author runs the code that they write
//! to prove a point.
//!
//! AutoGen: `GroupChat(agents, speaker_selection_method="round_robin")`.

use cellblock_agents::{Agent, Chat, CodeExecution, HumanInputMode, Speakers};
use cellblock_examples::{Result, executor, file, finish, model, transcript};

/// The code to review.
const CODE: &str = include_str!("../../data/orders.py");

#[tokio::main]
async fn main() -> Result<()> {
    let mut code = CodeExecution::new(executor("wasi").await?);
    code.session.files.push(file("orders.py", CODE.as_bytes()));
    let author = Agent {
        code: Some(code),
        human_input: HumanInputMode::Never,
        ..Agent::user_proxy("author")
    };

    let model = model("code_review").await?;
    let reviewer = |name: &str, looks_at: &str| Agent {
        system_message: format!(
            "You review Python code for {name}: {looks_at}. Stay with that; others look at the \
             rest. To prove a point, write a ```python block; the author runs it, with the \
             reviewed code in orders.py. Blocks share their variables."
        ),
        ..Agent::assistant(name, model.clone())
    };
    let style = reviewer("style", "names, structure, documentation");
    let security = reviewer("security", "what a hostile caller can do");
    let performance = reviewer("performance", "queries, complexity");

    let agents = vec![author, style, security, performance];
    let chat = Chat { speakers: Speakers::RoundRobin, events: transcript(), ..Chat::group(agents) };
    let result = chat.run(format!("Please review orders.py:\n\n```python\n{CODE}```")).await?;
    finish(&result)
}
