//! The answer of an agent's model.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use super::{
    perspective::model_request,
    turn::{AgentAnswer, View},
};
use crate::{
    error::{Error, Result},
    event::Event,
    message::{Content, Message},
    model::{FinishReason, TextSink},
    record::StopReason,
};

/// Asks the model of the agent, if it has one and the budget allows it.
pub async fn ask_model(view: &View<'_>) -> Result<Option<AgentAnswer>> {
    let (agent, context) = (view.agent(), view.context);
    let Some(model) = &agent.model else { return Ok(None) };
    if let Some(exhausted) = context.exhausted() {
        return Ok(Some(AgentAnswer::stop(StopReason::Budget(exhausted))));
    }
    let request = model_request(view, model.sees_images());
    let streamed = Arc::new(AtomicBool::new(false));
    let on_text = context.events.is_some().then(|| text_sink(view, streamed.clone()));
    // Boxed, so that turns without a model do not carry its state.
    let asking = Box::pin(context.ask(model.as_ref(), &agent.name, &request, on_text.as_ref()));
    let answer = asking.await;
    let streamed = streamed.load(Ordering::Relaxed);
    let answer = answer.map_err(|source| {
        if streamed {
            context.emit(|chat| Event::TextWithdrawn { chat, from: agent.name.clone() });
        }
        Error::Model { agent: agent.name.clone(), source }
    })?;
    let notice = match answer.finish {
        FinishReason::Length => Some("was cut off at its length limit"),
        FinishReason::Filtered => Some("was withheld by the provider"),
        _ => None,
    };
    if let Some(notice) = notice {
        context.notice(format!("the answer of `{}` {notice}", agent.name));
    }
    let message = Message {
        tool_calls: answer.tool_calls,
        ..Message::new(agent.name.as_str(), Content::Text(answer.content))
    };
    Ok(Some(AgentAnswer { streamed, ..AgentAnswer::say(message) }))
}

/// A sink that emits the pieces of a message and notes in `streamed` that there was one.
fn text_sink(view: &View<'_>, streamed: Arc<AtomicBool>) -> TextSink {
    let context = view.context.clone();
    let (from, to) = (view.agent().name.clone(), view.peer().to_owned());
    Arc::new(move |text: &str| {
        streamed.store(true, Ordering::Relaxed);
        context.emit(|chat| Event::Text {
            chat,
            depth: context.depth,
            from: from.clone(),
            to: to.clone(),
            text: text.to_owned(),
        });
    })
}
