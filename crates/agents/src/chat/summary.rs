//! What a chat came to, in a few words.

use std::{fmt, sync::Arc};

use super::{StopReason, running::Running, view::view};
use crate::{
    event::Event,
    message::{Content, Message},
    model::{ModelClient, ModelMessage, ModelRequest},
    prompts,
};

/// How a chat is summed up.
#[derive(Clone, Default)]
pub enum Summary {
    /// The last message, without the word `TERMINATE`.
    #[default]
    LastMessage,
    /// A model is asked.
    Reflection {
        /// What it is asked; `None` for [`prompts::REFLECTION`](crate::prompts::REFLECTION).
        prompt: Option<String>,
        /// The model; `None` for that of the last agent of the chat that has one.
        model: Option<Arc<dyn ModelClient>>,
    },
    /// A function of the messages.
    Custom(MakeSummary),
    /// None: it is empty.
    Nothing,
}

/// Sums messages up.
pub type MakeSummary = Arc<dyn Fn(&[Message]) -> String + Send + Sync>;

impl fmt::Debug for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Summary::LastMessage => "LastMessage",
            Summary::Reflection { .. } => "Reflection",
            Summary::Custom(_) => "Custom",
            Summary::Nothing => "Nothing",
        })
    }
}

impl Running<'_> {
    pub(super) async fn summary(&mut self, stop: &StopReason) -> String {
        match &self.chat.summary {
            Summary::Nothing => String::new(),
            Summary::Custom(function) => function(&self.history),
            // What was stopped does not go on to spend.
            Summary::Reflection { prompt, model }
                if stop.is_success() && !self.history.is_empty() =>
            {
                let own = || self.chat.agents.iter().rev().find_map(|agent| agent.model.clone());
                let Some(model) = model.clone().or_else(own) else {
                    self.notice(
                        "there is no model to sum the chat up; its last message stands in"
                            .to_owned(),
                    );
                    return self.last_message();
                };
                match self
                    .reflect(model.as_ref(), prompt.as_deref().unwrap_or(prompts::REFLECTION))
                    .await
                {
                    Ok(summary) => summary,
                    Err(why) => {
                        self.notice(format!(
                            "the chat could not be summed up ({why}); its last message stands in"
                        ));
                        self.last_message()
                    }
                }
            }
            Summary::LastMessage | Summary::Reflection { .. } => self.last_message(),
        }
    }

    fn last_message(&self) -> String {
        self.history.last().map(|last| last.text().replace("TERMINATE", "")).unwrap_or_default()
    }

    async fn reflect(&self, model: &dyn ModelClient, prompt: &str) -> Result<String, String> {
        let mut messages = Vec::with_capacity(self.history.len() + 1);
        // Nobody's point of view: all are others.
        view(&mut messages, &self.history, "", true, model.sees_images());
        messages.push(ModelMessage::User { name: None, content: Content::from(prompt) });
        let request = ModelRequest { messages, ..ModelRequest::default() };
        if let Some(spent) = self.context.spent() {
            return Err(spent.to_string());
        }
        let asked = self.context.ask(model, super::MANAGER, &request, None);
        let answer = tokio::select! {
            biased;
            () = self.context.cancel.cancelled() => return Err("the chat was cancelled".to_owned()),
            spent = self.context.time_over() => return Err(spent.to_string()),
            answer = asked => answer,
        };
        answer.map(|answer| answer.content).map_err(|error| cellblock_exec::with_causes(&error))
    }

    pub(super) fn notice(&self, text: String) {
        self.context.emit(|chat| Event::Notice { chat, text });
    }
}
