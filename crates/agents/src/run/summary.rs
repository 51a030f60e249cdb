//! The summary of a chat that has ended.

use super::perspective::Perspective;
use crate::{
    chat::{Chat, MANAGER, summary::Summary},
    context::Context,
    message::{Content, Message},
    model::{ModelClient, ModelMessage, ModelRequest},
    prompts,
    record::StopReason,
};

/// Returns the summary. If a model cannot give it, it is the last message, and a notice says so.
pub async fn summarize(
    chat: &Chat,
    context: &Context,
    history: &[Message],
    stop: &StopReason,
) -> String {
    match &chat.summary {
        Summary::Nothing => String::new(),
        Summary::Custom(function) => function(history),
        // A chat that a limit or a failure stopped must not cost more.
        Summary::Reflection { prompt, model } if stop.is_success() && !history.is_empty() => {
            let own = || chat.agents.iter().rev().find_map(|agent| agent.model.clone());
            let Some(model) = model.clone().or_else(own) else {
                context.notice(
                    "there is no model to summarize the chat; its last message is used instead"
                        .to_owned(),
                );
                return last_message(history);
            };
            let prompt = prompt.as_deref().unwrap_or(prompts::REFLECTION);
            match reflect(context, history, model.as_ref(), prompt).await {
                Ok(summary) => summary,
                Err(why) => {
                    context.notice(format!(
                        "the chat could not be summarized ({why}); its last message is used instead"
                    ));
                    last_message(history)
                }
            }
        }
        Summary::LastMessage | Summary::Reflection { .. } => last_message(history),
    }
}

fn last_message(history: &[Message]) -> String {
    history.last().map(|last| last.text().replace("TERMINATE", "")).unwrap_or_default()
}

async fn reflect(
    context: &Context,
    history: &[Message],
    model: &dyn ModelClient,
    prompt: &str,
) -> Result<String, String> {
    let mut messages = Vec::with_capacity(history.len() + 1);
    let perspective = Perspective { own: "", names: true, sees_images: model.sees_images() };
    perspective.append(&mut messages, history);
    messages.push(ModelMessage::User { name: None, content: Content::from(prompt) });
    let request = ModelRequest { messages, ..ModelRequest::default() };
    if let Some(exhausted) = context.exhausted() {
        return Err(exhausted.to_string());
    }
    let answer = tokio::select! {
        biased;
        () = context.cancel.cancelled() => return Err("the chat was cancelled".to_owned()),
        exhausted = context.time_is_over() => return Err(exhausted.to_string()),
        answer = context.ask(model, MANAGER, &request, None) => answer,
    };
    answer.map(|answer| answer.content).map_err(|error| cellblock_exec::with_causes(&error))
}
