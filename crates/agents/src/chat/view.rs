//! A chat as one agent's model sees it.

use std::collections::HashSet;

use super::Chat;
use crate::{
    agent::Agent,
    message::{Content, Message},
    model::{ModelMessage, ModelRequest},
    prompts,
};

/// The request that lets an agent's model answer. `received` stands in the place of the last message.
pub(super) fn request(
    chat: &Chat,
    agent: &Agent,
    sees_images: bool,
    history: &[Message],
    received: Option<&Message>,
) -> ModelRequest {
    let mut messages = Vec::with_capacity(history.len() + 1);
    if chat.introductions {
        let text = prompts::INTRODUCTION.replace("{agents}", &introductions(chat));
        messages.push(ModelMessage::User { name: Some(super::MANAGER.to_owned()), content: Content::Text(text) });
    }
    let names = !chat.is_pair();
    if agent.hooks.before_reply.is_empty() && received.is_none() {
        view(&mut messages, history, &agent.name, names, sees_images);
    } else {
        let mut changed = history.to_vec();
        if let (Some(received), Some(last)) = (received, changed.last_mut()) {
            last.clone_from(received);
        }
        let changed = agent.hooks.before_reply.iter().fold(changed, |messages, hook| hook(messages));
        view(&mut messages, &changed, &agent.name, names, sees_images);
    }
    ModelRequest {
        system: agent.system_message.clone(),
        messages,
        tools: agent.tools.iter().map(|tool| tool.spec().clone()).collect(),
        parameters: agent.parameters.clone(),
    }
}

/// Names and descriptions of all agents, one a line.
pub(super) fn introductions(chat: &Chat) -> String {
    let lines = chat.agents.iter().map(|agent| match agent.description.as_str() {
        "" => agent.name.clone(),
        description => format!("{}: {description}", agent.name),
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Appends messages as the agent of a name sees them: its own as the assistant's, results of its tool calls as such, and all
/// else as the user's.
pub(super) fn view(into: &mut Vec<ModelMessage>, history: &[Message], own: &str, names: bool, sees_images: bool) {
    let mut open: HashSet<&str> = HashSet::new();
    for message in history {
        let content = || match sees_images {
            true => message.content.clone(),
            false => Content::Text(message.text().into_owned()),
        };
        let name = names.then(|| message.name.clone());
        let mut rest = String::new();
        for result in &message.tool_results {
            if open.remove(result.id.as_str()) {
                into.push(ModelMessage::Tool(result.clone()));
            } else {
                rest.push_str(&format!("[result of {}: {}]\n", result.name, result.content));
            }
        }
        if message.name == own {
            open.extend(message.tool_calls.iter().map(|call| call.id.as_str()));
            // Results of its own calls that it made itself, in a group, are no words of its own.
            if message.tool_results.is_empty() || !message.content.is_empty() {
                into.push(ModelMessage::Assistant { content: content(), tool_calls: message.tool_calls.clone() });
            }
            continue;
        }
        for call in &message.tool_calls {
            rest.push_str(&format!("[calls {} with {}]\n", call.name, call.arguments));
        }
        if rest.is_empty() && (message.tool_results.is_empty() || !message.content.is_empty()) {
            into.push(ModelMessage::User { name, content: content() });
        } else if !rest.is_empty() {
            // Other agents' tool calls are told, not repeated: a model may only see calls of its own.
            let text = format!("{}{}{rest}", message.text(), if message.content.is_empty() { "" } else { "\n" });
            into.push(ModelMessage::User { name, content: Content::Text(text) });
        }
    }
}
