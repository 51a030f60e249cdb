//! A joke: one question and one answer. No code runs.
//!
//! AutoGen: `user_proxy.initiate_chat(assistant, message=…, max_turns=1)`, with
//! `code_execution_config=False`.

use cellblock_agents::{Agent, Chat};
use cellblock_examples::{Result, argument, finish, model, transcript};

#[tokio::main]
async fn main() -> Result<()> {
    let task = argument()
        .unwrap_or_else(|| "Tell me a joke about NVDA and TESLA stock prices.".to_owned());
    let assistant = Agent::assistant("assistant", model("joke").await?);
    let user = Agent::user_proxy("user_proxy");

    // Without a limit, the person would be asked for a reply to the joke.
    let chat = Chat { max_turns: Some(1), events: transcript(), ..Chat::between(user, assistant) };
    let result = chat.run(task).await?;
    finish(&result)
}
