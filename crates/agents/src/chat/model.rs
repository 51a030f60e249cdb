//! The answer of an agent's model.

use std::sync::Arc;

use super::{running::Running, view::request};
use crate::{
    error::{Error, Result},
    event::Event,
    message::{Content, Message},
    model::{FinishReason, TextSink},
};

impl Running<'_> {
    pub(super) async fn ask_model(
        &mut self,
        speaker: usize,
        received: Option<&Message>,
    ) -> Result<Message> {
        let agent = &self.chat.agents[speaker];
        let Some(model) = &agent.model else {
            return Err(Error::Invalid(format!("`{}` has no model to ask", agent.name)));
        };
        let messages = &self.history[self.states[speaker].sees_from..];
        let request = request(self.chat, agent, model.sees_images(), messages, received);
        let streamed = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let on_text: Option<TextSink> = self.context.events.is_some().then(|| {
            let (context, streamed) = (self.context.clone(), streamed.clone());
            let (from, to) = (agent.name.clone(), self.peer(speaker).to_owned());
            let sink: TextSink = Arc::new(move |text| {
                streamed.store(true, std::sync::atomic::Ordering::Relaxed);
                let (from, to, depth) = (from.clone(), to.clone(), context.depth);
                context.emit(|chat| Event::Text { chat, depth, from, to, text: text.to_owned() });
            });
            sink
        });
        let answer =
            self.context.ask(model.as_ref(), &agent.name, &request, on_text.as_ref()).await;
        let streamed = streamed.load(std::sync::atomic::Ordering::Relaxed);
        let answer = match answer {
            Ok(answer) => answer,
            Err(source) => {
                if streamed {
                    self.context
                        .emit(|chat| Event::TextWithdrawn { chat, from: agent.name.clone() });
                }
                return Err(Error::Model { agent: agent.name.clone(), source });
            }
        };
        self.streamed = streamed;
        let notice = match answer.finish {
            FinishReason::Length => Some("was cut off at the limit on its length"),
            FinishReason::Filtered => Some("was held back by the provider"),
            _ => None,
        };
        if let Some(notice) = notice {
            let text = format!("the answer of {} {notice}", agent.name);
            self.context.emit(|chat| Event::Notice { chat, text });
        }
        Ok(Message {
            name: agent.name.clone(),
            content: Content::Text(answer.content),
            tool_calls: answer.tool_calls,
            ..Message::default()
        })
    }
}
