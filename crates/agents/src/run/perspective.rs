//! A chat as one agent's model sees it: the agent's own messages are the assistant's, results of
//! its own tool calls are results, and everything else is the user's.

use super::turn::View;
use crate::{
    chat::{Chat, MANAGER},
    message::{Content, Message, ToolCall, ToolResult},
    model::{ModelMessage, ModelRequest},
    prompts,
};

/// Creates the request that lets an agent's model answer.
pub fn model_request(view: &View<'_>, sees_images: bool) -> ModelRequest {
    let (chat, agent) = (view.chat, view.agent());
    let mut messages = Vec::with_capacity(view.visible.len() + 1);
    if chat.introductions {
        let text = prompts::INTRODUCTION.replace("{agents}", &introductions(chat));
        messages.push(ModelMessage::User {
            name: Some(MANAGER.to_owned()),
            content: Content::Text(text),
        });
    }
    let perspective = Perspective { own: &agent.name, names: !chat.is_pair(), sees_images };
    let hooks = &agent.hooks.before_reply;
    if hooks.is_empty() {
        perspective.append(&mut messages, view.visible);
    } else {
        let changed = hooks.iter().fold(view.visible.to_vec(), |messages, hook| hook(messages));
        perspective.append(&mut messages, &changed);
    }
    ModelRequest {
        system: agent.system_message.clone(),
        messages,
        tools: agent.tools.iter().map(|tool| tool.spec().clone()).collect(),
        parameters: agent.parameters.clone(),
    }
}

/// The names and descriptions of all agents, one per line.
pub fn introductions(chat: &Chat) -> String {
    let lines = chat.agents.iter().map(|agent| match agent.description.as_str() {
        "" => agent.name.clone(),
        description => format!("{}: {description}", agent.name),
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// A point of view on a history.
pub struct Perspective<'p> {
    /// The agent whose messages are the assistant's; empty for none.
    pub own: &'p str,
    /// True if messages have the names of their speakers.
    pub names: bool,
    /// True if messages can have images.
    pub sees_images: bool,
}

impl Perspective<'_> {
    /// Appends a history as seen from here.
    pub fn append(&self, into: &mut Vec<ModelMessage>, history: &[Message]) {
        // The agent's tool calls without a result so far. Models may make two with the same id.
        let mut open: Vec<&ToolCall> = Vec::new();
        for message in history {
            // A model must only see tool calls of its own: those of others become text.
            let mut notes = String::new();
            for result in &message.tool_results {
                match open.iter().position(|call| call.id == result.id) {
                    Some(place) => {
                        open.remove(place);
                        into.push(ModelMessage::Tool(result.clone()));
                    }
                    None => notes
                        .push_str(&format!("[result of {}: {}]\n", result.name, result.content)),
                }
            }
            // Providers refuse a conversation in which a call has no result.
            into.extend(open.drain(..).map(missing_result));
            if message.name == self.own {
                self.append_own(into, message, notes);
                open.extend(&message.tool_calls);
            } else {
                self.append_other(into, message, notes);
            }
        }
        into.extend(open.drain(..).map(missing_result));
    }

    fn append_own(&self, into: &mut Vec<ModelMessage>, message: &Message, notes: String) {
        if !notes.is_empty() {
            into.push(ModelMessage::User {
                name: self.speaker(message),
                content: Content::Text(notes),
            });
        }
        if !only_has_results(message) || !message.tool_calls.is_empty() {
            into.push(ModelMessage::Assistant {
                content: self.content(message),
                tool_calls: message.tool_calls.clone(),
            });
        }
    }

    fn append_other(&self, into: &mut Vec<ModelMessage>, message: &Message, mut notes: String) {
        for call in &message.tool_calls {
            notes.push_str(&format!("[calls {} with {}]\n", call.name, call.arguments));
        }
        let content = match notes.is_empty() {
            true if only_has_results(message) => return,
            true => self.content(message),
            false => {
                let separator = if message.content.is_empty() { "" } else { "\n" };
                Content::Text(format!("{}{separator}{notes}", message.text()))
            }
        };
        into.push(ModelMessage::User { name: self.speaker(message), content });
    }

    fn speaker(&self, message: &Message) -> Option<String> {
        self.names.then(|| message.name.clone())
    }

    /// The content of a message. Images that the model cannot see are named, except those of code,
    /// which the text names already.
    fn content(&self, message: &Message) -> Content {
        let images = message.content.images().count();
        if self.sees_images || images == 0 {
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
}

fn only_has_results(message: &Message) -> bool {
    message.content.is_empty() && !message.tool_results.is_empty()
}

fn missing_result(call: &ToolCall) -> ModelMessage {
    ModelMessage::Tool(ToolResult {
        id: call.id.clone(),
        name: call.name.clone(),
        content: "There is no result of this call.".to_owned(),
        is_error: true,
    })
}
