//! An agent with a company's rules and a tool: it answers by the rules, and looks up orders.
//!
//! AutoGen: a system message, and `register_function(…, caller=support, executor=customer)`.

use std::sync::Arc;

use cellblock_agents::{Agent, Chat, HumanInputMode, tool};
use cellblock_examples::{Result, finish, model, person, transcript};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The company's rules for answers to customers.
const POLICY: &str = include_str!("../../data/policy.md");

#[derive(Deserialize, JsonSchema)]
struct Order {
    /// The number of the order.
    order: u32,
}

#[derive(Serialize)]
struct Status {
    contents: &'static str,
    state: &'static str,
    promised: &'static str,
    expected: &'static str,
}

/// Returns the state of an order. A real shop would ask its database.
async fn order_status(Order { order }: Order) -> Result<Status, String> {
    match order {
        1042 => Ok(Status {
            contents: "lamp Vega",
            state: "in transit",
            promised: "Monday",
            expected: "Thursday",
        }),
        _ => Err(format!("there is no order {order}")),
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let support = Agent {
        system_message: POLICY.to_owned(),
        tools: vec![Arc::new(tool::function(
            "order_status",
            "Says where an order is.",
            order_status,
        ))],
        ..Agent::assistant("support", model("customer_support").await?)
    };
    let customer = Agent {
        // The customer is asked when an answer is for them and not a call of the tool.
        human_input: HumanInputMode::Terminate,
        is_termination: Arc::new(|history| {
            history.last().is_some_and(|last| last.tool_calls.is_empty())
        }),
        human: person(["Thank you. If I do not like the lamp, can I send it back?", ""]),
        ..Agent::user_proxy("customer")
    };

    let chat = Chat { events: transcript(), ..Chat::between(customer, support) };
    let result =
        chat.run("Hello, my order 1042 should have been here on Monday. Where is it?").await?;
    finish(&result)
}
