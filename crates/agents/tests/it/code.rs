//! Code execution in a chat: the selection of code, the report for the model, and failed sandboxes.

mod sandbox;
mod told;
mod which;

use crate::{
    cast::{last, says},
    fake::Fake,
};
use cellblock_agents::{Agent, Chat, ChatResult, CodeExecution, HumanInputMode};
use std::sync::Arc;

async fn answer_with(code: CodeExecution, message: &str) -> ChatResult {
    let user = Agent { code: Some(code), human_input: HumanInputMode::Never, ..Agent::new("user") };
    let chat = Chat { max_turns: Some(1), ..Chat::between(says("assistant", ""), user) };
    chat.run(message).await.unwrap()
}

async fn answer(message: &str) -> String {
    last(&answer_with(CodeExecution::new(Arc::new(Fake::default())), message).await)
}
