//! A chart in three steps: a package is missing and is installed before the model is asked again;
//! the person asks for a change; the revised code continues with the variables of the first.
//!
//! AutoGen: the picture on its first page, in which the model gets the message "package yfinance is
//! not installed".

use std::sync::Arc;

use cellblock_agents::{Agent, Chat, CodeExecution, HumanInputMode, ends_with_terminate};
use cellblock_examples::{Result, executor, file, finish, model, person, transcript};

/// The prices, rounded and made up.
const PRICES: &[u8] = include_bytes!("../../data/prices.csv");

const TASK: &str = "\
Plot a chart of META and TESLA stock price change YTD. There is no network; the weekly closing \
prices are in prices.csv (columns date, META, NVDA, TSLA). They are made up.";

#[tokio::main]
async fn main() -> Result<()> {
    let mut code = CodeExecution::new(executor("wasi").await?);
    code.session.files.push(file("prices.csv", PRICES));

    let assistant = Agent::assistant("assistant", model("percent_change").await?);
    let user = Agent {
        code: Some(code),
        // The person is asked when the assistant says that it has finished, and can ask for more.
        human_input: HumanInputMode::Terminate,
        is_termination: Arc::new(ends_with_terminate),
        human: person(["No, please plot % change!", "exit"]),
        ..Agent::user_proxy("user_proxy")
    };

    let chat = Chat { events: transcript(), ..Chat::between(user, assistant) };
    let result = chat.run(TASK).await?;
    finish(&result)
}
