//! A chart: the assistant writes code, and the user's proxy runs it in the executor that you name:
//! `wasi` (the default), `docker` or `local`.
//!
//! AutoGen: `UserProxyAgent("user_proxy", code_execution_config={"executor": …})`.

use cellblock_agents::{Agent, Chat, CodeExecution, HumanInputMode};
use cellblock_examples::{Result, argument, executor, file, finish, model, transcript};

/// The prices, rounded and made up. Code in a sandbox has no network, so the program passes them
/// in.
const PRICES: &[u8] = include_bytes!("../../data/prices.csv");

const TASK: &str = "\
Plot a chart of NVDA and TESLA stock price change YTD. There is no network; the weekly closing \
prices are in prices.csv (columns date, META, NVDA, TSLA). They are made up.";

#[tokio::main]
async fn main() -> Result<()> {
    let executor = executor(argument().as_deref().unwrap_or("wasi")).await?;
    let mut code = CodeExecution::new(executor);
    code.session.files.push(file("prices.csv", PRICES));

    let assistant = Agent::assistant("assistant", model("stock_chart").await?);
    let user = Agent {
        code: Some(code),
        human_input: HumanInputMode::Never,
        ..Agent::user_proxy("user_proxy")
    };

    let chat = Chat { max_turns: Some(2), events: transcript(), ..Chat::between(user, assistant) };
    let result = chat.run(TASK).await?;
    finish(&result)
}
