//! The answer of an agent: its ways to an answer, in order, until one has an answer.

use super::{
    code::run_code,
    model::ask_model,
    nested::hold_nested_chats,
    person::ask_person,
    tools::call_tools,
    turn::{Action, AgentAnswer, AgentState, View},
};
use crate::{
    agent::{Agent, CustomReply, Reply, Turn},
    error::Result,
    message::Message,
    record::StopReason,
};

/// Returns the answer of the first way that has one.
pub async fn reply(view: &View<'_>, state: &mut AgentState) -> Result<AgentAnswer> {
    let agent = view.agent();
    for way in &agent.replies {
        let answer = match way {
            Reply::Custom(function) => custom(view, function.as_ref()).await?,
            Reply::Human => ask_person(view, state).await?,
            Reply::Nested => hold_nested_chats(view).await?,
            Reply::Tools => call_tools(view).await?,
            Reply::Code => run_code(view, &mut state.session).await?,
            Reply::Model => ask_model(view).await?,
            Reply::Default => {
                let text = agent.default_reply.as_str();
                Some(AgentAnswer::say(Message::new(agent.name.as_str(), text)))
            }
        };
        if let Some(mut answer) = answer {
            apply_hooks(agent, &mut answer);
            return Ok(answer);
        }
    }
    Ok(AgentAnswer::stop(StopReason::NoReply { agent: agent.name.clone() }))
}

async fn custom(view: &View<'_>, function: &dyn CustomReply) -> Result<Option<AgentAnswer>> {
    let View { context, visible: messages, .. } = *view;
    let turn = Turn { agent: view.agent(), peer: view.peer(), messages, context };
    let message = function.reply(&turn).await?;
    let name = || view.agent().name.clone();
    Ok(message.map(|message| AgentAnswer::say(Message { name: name(), ..message })))
}

/// Applies the agent's [`before_send`](crate::Hooks::before_send) hooks.
pub fn apply_hooks(agent: &Agent, answer: &mut AgentAnswer) {
    if let Action::Say(message) = &mut answer.action {
        for hook in &agent.hooks.before_send {
            *message = hook(std::mem::take(message));
        }
    }
}
