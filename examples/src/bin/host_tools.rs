//! Tools called from code: the model writes one program that calls tools in a loop, instead of nine
//! tool calls.
//!
//! AutoGen: no counterpart. `functions=` of its executors copies functions into the sandbox, where
//! they can reach nothing.

use std::sync::Arc;

use cellblock_agents::{Agent, Chat, CodeExecution, HumanInputMode, tool};
use cellblock_examples::{Result, executor, finish, model, transcript};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Names of lamps, the number in stock, and the number sold in a week.
const STOCK: [(&str, u32, u32); 8] = [
    ("Altair", 40, 5),
    ("Capella", 4, 8),
    ("Deneb", 25, 6),
    ("Mira", 9, 3),
    ("Polaris", 60, 11),
    ("Rigel", 12, 10),
    ("Spica", 16, 4),
    ("Vega", 18, 12),
];

#[derive(Deserialize, JsonSchema)]
struct Nothing {}

#[derive(Deserialize, JsonSchema)]
struct Lamp {
    /// The name of the lamp.
    name: String,
}

#[derive(Serialize)]
struct Stock {
    in_stock: u32,
    sold_per_week: u32,
}

async fn lamps(_: Nothing) -> Result<Vec<&'static str>, String> {
    Ok(STOCK.map(|(name, ..)| name).to_vec())
}

async fn stock(Lamp { name }: Lamp) -> Result<Stock, String> {
    let found = STOCK.iter().find(|(lamp, ..)| *lamp == name);
    let (_, in_stock, sold_per_week) = *found.ok_or_else(|| format!("there is no lamp {name}"))?;
    Ok(Stock { in_stock, sold_per_week })
}

const TASK: &str = "\
Which lamps run out within two weeks, and how many do we have to order for a month? Code can call \
these functions: `from host import tools`, then `tools.lamps()` gives all names and \
`tools.stock(name=…)` gives in_stock and sold_per_week.";

#[tokio::main]
async fn main() -> Result<()> {
    let code = CodeExecution {
        tools: vec![
            Arc::new(tool::function("lamps", "The names of all lamps.", lamps)),
            Arc::new(tool::function(
                "stock",
                "How many of a lamp there are, and how many are sold in a week.",
                stock,
            )),
        ],
        ..CodeExecution::new(executor("wasi").await?)
    };
    let assistant = Agent::assistant("assistant", model("host_tools").await?);
    let user = Agent {
        code: Some(code),
        human_input: HumanInputMode::Never,
        ..Agent::user_proxy("user_proxy")
    };

    let chat = Chat { max_turns: Some(2), events: transcript(), ..Chat::between(user, assistant) };
    let result = chat.run(TASK).await?;
    finish(&result)
}
