//! A chat as one agent's model sees it.

use super::Chat;
use crate::{
    agent::Agent,
    message::{Content, Message, ToolCall, ToolResult},
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
        messages.push(ModelMessage::User {
            name: Some(super::MANAGER.to_owned()),
            content: Content::Text(text),
        });
    }
    let names = !chat.is_pair();
    if agent.hooks.before_reply.is_empty() && received.is_none() {
        view(&mut messages, history, &agent.name, names, sees_images);
    } else {
        let mut changed = history.to_vec();
        if let (Some(received), Some(last)) = (received, changed.last_mut()) {
            last.clone_from(received);
        }
        let changed =
            agent.hooks.before_reply.iter().fold(changed, |messages, hook| hook(messages));
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
pub(super) fn view(
    into: &mut Vec<ModelMessage>,
    history: &[Message],
    own: &str,
    names: bool,
    sees_images: bool,
) {
    // Tool calls of its own that have no result yet. Models may be given two of the same id.
    let mut open: Vec<&ToolCall> = Vec::new();
    for message in history {
        let name = names.then(|| message.name.clone());
        // Other agents' tool calls and their results are told, not repeated: a model may only see calls of its own.
        let mut told = String::new();
        for result in &message.tool_results {
            match open.iter().position(|call| call.id == result.id) {
                Some(place) => {
                    open.remove(place);
                    into.push(ModelMessage::Tool(result.clone()));
                }
                None => {
                    told.push_str(&format!("[result of {}: {}]\n", result.name, result.content))
                }
            }
        }
        // Providers refuse a conversation in which a call is never answered.
        into.extend(open.drain(..).map(without_result));
        let says_nothing = message.content.is_empty() && !message.tool_results.is_empty();
        if message.name == own {
            if !told.is_empty() {
                into.push(ModelMessage::User { name: name.clone(), content: Content::Text(told) });
            }
            if !says_nothing || !message.tool_calls.is_empty() {
                let (content, tool_calls) =
                    (content(message, sees_images), message.tool_calls.clone());
                into.push(ModelMessage::Assistant { content, tool_calls });
                open.extend(&message.tool_calls);
            }
            continue;
        }
        for call in &message.tool_calls {
            told.push_str(&format!("[calls {} with {}]\n", call.name, call.arguments));
        }
        if !told.is_empty() {
            let text = format!(
                "{}{}{told}",
                message.text(),
                if message.content.is_empty() { "" } else { "\n" }
            );
            into.push(ModelMessage::User { name, content: Content::Text(text) });
        } else if !says_nothing {
            into.push(ModelMessage::User { name, content: content(message, sees_images) });
        }
    }
    into.extend(open.drain(..).map(without_result));
}

/// The content for a model. Pictures that it cannot see are named: those of code are in the text already.
fn content(message: &Message, sees_images: bool) -> Content {
    let images = message.content.images().count();
    if sees_images || images == 0 {
        return message.content.clone();
    }
    let mut text = message.text().into_owned();
    if message.artifacts.is_empty() {
        let kinds: Vec<_> =
            message.content.images().map(|image| image.media_type.as_str()).collect();
        text.push_str(&format!(
            "\n[{images} not shown, because you cannot see images: {}]",
            kinds.join(", ")
        ));
    }
    Content::Text(text)
}

fn without_result(call: &ToolCall) -> ModelMessage {
    let content = "There is no result of this call.".to_owned();
    ModelMessage::Tool(ToolResult {
        id: call.id.clone(),
        name: call.name.clone(),
        content,
        is_error: true,
    })
}
